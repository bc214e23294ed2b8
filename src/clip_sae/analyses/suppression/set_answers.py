"""Right answers of images after each of many sets of units was edited.

Steering paper §7.1.1. The run starts at the layer's cached residual; a set that two thresholds or
two directions share runs once.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from clip_sae.analyses.shared.edits import reaches_output
from clip_sae.analyses.shared.groups import Groups
from clip_sae.analyses.shared.store_images import StoreImages
from clip_sae.analyses.shared.unit_sets import Family
from clip_sae.analyses.shared.units import Units
from clip_sae.clip.model import ClipModel


class Answers:
    """Runs sets of one kind of units on the images of one split, each set once.

    Args:
        layer: whose residual `images` hold.
        text: unit class texts [class, d_embed].
        groups: of every row of the manifest.
        units: those that the sets hold.
    """

    def __init__(
        self,
        model: ClipModel,
        layer: int,
        text: Tensor,
        images: StoreImages,
        groups: Groups,
        units: Units,
    ) -> None:
        if images.tokens == "cls" and reaches_output(model, layer) != "cls":
            raise ValueError(
                f"only CLS was read of layer {layer}, but other tokens of it reach the embedding. "
                "Read all tokens (in config.yaml: `last_layer_tokens: all`)."
            )
        self.model, self.layer, self.images, self.units = model, layer, images, units
        self.text = F.normalize(text.float(), dim=-1).to(model.device)
        self.groups = groups.at(images.rows)
        self.label = torch.from_numpy(self.groups.label).to(model.device)
        self._known: dict[bytes, np.ndarray] = {}

    @property
    def n_runs(self) -> int:
        """Number of distinct sets that have been run."""
        return len(self._known)

    def of(self, units: Iterable[int]) -> np.ndarray:
        """Return [image] bool, True for a right answer without these units, which have been run."""
        return self._known[_key(np.asarray(units, dtype=np.int64))]

    @torch.inference_mode()
    def run(self, families: Sequence[Family]) -> None:
        """Run every set of the families that has not been run yet."""
        wanted = self._new_sets(families)
        for keys in wanted:
            for key in keys.values():
                self._known[key] = np.zeros(len(self.images), dtype=bool)
        if not any(wanted):
            return
        for which, x in self.images.batches(self.model.device):
            batch, label = self.units.on(x), self.label[which]
            for family, keys in zip(families, wanted, strict=True):
                sizes = sorted(keys)
                for size, ablated in zip(sizes, batch.nested(family.order, sizes), strict=True):
                    right = self._predict(ablated) == label
                    self._known[keys[size]][which] = right.cpu().numpy()

    def _new_sets(self, families: Sequence[Family]) -> list[dict[int, bytes]]:
        """Return {size: key} of the sets that each family runs; each set in one family only."""
        seen, wanted = set(self._known), []
        for family in families:
            keys = {size: _key(family.units(i)) for i, size in enumerate(family.sizes)}
            wanted.append({size: key for size, key in keys.items() if key not in seen})
            seen |= set(keys.values())
        return wanted

    def _predict(self, x: Tensor) -> Tensor:
        """Return [image], the class of largest cosine; no scale can change it."""
        embedding = F.normalize(self.model.run_from(x, self.layer).float(), dim=-1)
        return (embedding @ self.text.T).argmax(-1)


def _key(units: np.ndarray) -> bytes:
    return np.sort(units).astype(np.int64).tobytes()
