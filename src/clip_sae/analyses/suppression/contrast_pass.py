"""One pass over a training store: the group sums of all its SAEs' latents and of its coordinates.

Steering paper Eq. 9, both expectations, for every tau and every choice of tokens at once.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from clip_sae.analyses.shared.contrast import Contrast
from clip_sae.analyses.shared.groups import N_GROUPS, Groups
from clip_sae.analyses.shared.store_images import StoreImages
from clip_sae.analyses.shared.units import Units


@torch.inference_mode()
def measure_contrasts(
    images: StoreImages,
    groups: Groups,
    units: Mapping[str, Units],
    *,
    device: torch.device,
    progress: bool = True,
) -> dict[str, Contrast]:
    """Return the contrast of every kind of units.

    Args:
        images: the training images; all tokens, or CLS where nothing else reaches the output.
        groups: of every row of the manifest. Images whose attribute is not known (−1) are left out.
        units: e.g. one `Latents` per SAE and `Neurons`; their weights lie on `device`.
    """
    group = groups.at(images.rows).group
    if (group >= 0).sum() == 0:
        raise ValueError(
            f"{images.store.path} has no image whose attribute is known. Give the store of the "
            "data set whose manifest the groups come from."
        )
    sums = {name: _Sums(kind, device) for name, kind in units.items()}
    one_hot = torch.from_numpy(group[:, None] == np.arange(N_GROUPS)).double().to(device)
    n_batches = -(-len(images) // images.batch_images)
    batches = tqdm(
        images.batches(device), total=n_batches, desc="contrast", unit="batch", disable=not progress
    )
    n_patches = 0
    for which, x in batches:
        n_patches = x.shape[1] - 1
        for name, kind in units.items():
            sums[name].add(kind.read(x), one_hot[which])
    n_images = np.bincount(group[group >= 0], minlength=N_GROUPS)
    return {name: found.contrast(n_images, n_patches) for name, found in sums.items()}


class _Sums:
    """Running sums of one kind of units, float64."""

    def __init__(self, units: Units, device: torch.device) -> None:
        self.row_norm, self.signed = units.row_norm.to(device).double(), units.signed
        shape = (2, N_GROUPS, units.n_units)  # CLS, patches
        self.sums = torch.zeros(shape, dtype=torch.float64, device=device)
        self.sizes = torch.zeros(2, units.n_units, dtype=torch.float64, device=device)
        self.alive = torch.zeros(units.n_units, dtype=torch.bool, device=device)

    def add(self, values: Tensor, one_hot: Tensor) -> None:
        """Add a batch: `values` [image, token, unit], `one_hot` [image, group]."""
        known = one_hot.sum(1) > 0
        for part, tokens in enumerate((values[:, :1], values[:, 1:])):
            of_images = tokens.sum(1).double()  # [image unit]
            self.sums[part] += one_hot.T @ of_images
            # Values that are never negative are their own size: no second pass over them.
            sizes = tokens.abs().sum(1).double() if self.signed else of_images
            self.sizes[part] += sizes[known].sum(0)
            above = (tokens > 0).any(1) if self.signed else of_images > 0
            self.alive |= above[known].any(0)

    def contrast(self, n_images: np.ndarray, n_patches: int) -> Contrast:
        sums, sizes = self.sums.cpu().numpy(), (self.sizes * self.row_norm).cpu().numpy()
        alive = self.alive.cpu().numpy()
        return Contrast(*sums, *sizes, alive, n_images, np.asarray(n_patches))
