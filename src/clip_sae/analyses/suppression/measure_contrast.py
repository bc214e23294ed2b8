"""Group means of every latent and every neuron at one layer of one data set.

Steering paper Eq. 9: both expectations for every tau and every choice of tokens, from one pass over
the training store. Without attribute labels, the images that look most and least like the
attribute, by prompts, stand for D_A and D_Ā.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from clip_sae.analyses.shared.contrast import Contrast
from clip_sae.analyses.shared.groups import N_GROUPS, Groups, read_groups
from clip_sae.analyses.shared.named_records import write_records
from clip_sae.analyses.shared.names import NEURONS
from clip_sae.analyses.shared.store_images import StoreImages
from clip_sae.analyses.shared.units import Latents, Neurons, Units
from clip_sae.datasets.manifest import read_manifest
from clip_sae.planning.inputs import SaeFiles
from clip_sae.sae import Sae
from clip_sae.store import ActivationStore

SHARE = 0.3  # of the images, on either side


def measure_contrast(
    job,
    *,
    index: Path,
    store: Path,
    saes: Mapping[str, SaeFiles],
    guess: Mapping | None,
    attribute: str,
    tokens_read: str,
) -> None:
    """Write the contrasts {label: of its latents, "neurons"}, from the training store of a layer.

    Args:
        guess: what `guessed_groups` reads to guess the attribute; None takes the labels.
    """
    device = job.torch_device()
    groups = read_groups(read_manifest(index), attribute)
    if guess is not None:
        groups, job.facts["guessed_right"] = guessed_groups(job, groups, **guess)
    images = StoreImages(
        ActivationStore(store), tokens=tokens_read, batch_images=job.batch("batch_images")
    )
    units = {label: Latents(Sae.load(sae.folder, device)) for label, sae in saes.items()}
    units[NEURONS] = Neurons(images.store.d_model)
    write_records(job.output.path, measure_contrasts(images, groups, units, device=device))
    job.facts["images"] = len(images)


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
    n_patches = 0
    for which, x in images.batches(device, "contrast" if progress else None):
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


@torch.inference_mode()
def guessed_groups(
    job, groups: Groups, *, clip, store: Path, tokens_read: str, prompts: Mapping
) -> tuple[Groups, float]:
    """Return groups whose attribute is guessed from prompts, and the share of right guesses.

    The label is set to 0 for all: without attribute labels, there is no group to balance.

    Args:
        store: of the last layer, training split; prompts: {"a", "not_a": texts}.
    """
    # Imported here, because a contrast from labels does not need CLIP.
    from clip_sae.analyses.shared.edited_embeddings import embeddings_without
    from clip_sae.analyses.shared.models import load_model

    model = load_model(job, clip)
    images = StoreImages(ActivationStore(store), tokens=tokens_read, batch_images=256)
    embeddings = embeddings_without(model, model.architecture.n_layers - 1, images)
    sides = [model.embed_text(prompts[side]) for side in ("a", "not_a")]
    guessed = np.full(len(groups), -1, dtype=np.int64)
    guessed[images.rows] = guess_attribute(embeddings, *sides)
    right = guess_quality(guessed[images.rows], groups.attribute[images.rows])
    job.log.info("%.1f %% of the guessed attributes are right", 100 * right)
    return Groups(np.zeros_like(groups.label), guessed), right


def guess_attribute(
    images: Tensor, present: Tensor, absent: Tensor, share: float = SHARE
) -> np.ndarray:
    """Return [image]: 1 for the `share` that is nearest to the attribute, 0 for the farthest.

    Nearness is the mean cosine to the prompts for the attribute less that to the prompts against
    it. Images in between are −1, unknown.

    Args:
        images: embeddings [image, d_embed].
        present, absent: embeddings [prompt, d_embed] of either value of the attribute.
    """
    if not 0 < share <= 0.5:
        raise ValueError(f"share is {share}; both sides together can hold at most all: (0, 0.5].")
    images = F.normalize(images.float(), dim=-1)
    sides = [(images @ F.normalize(t.float(), dim=-1).T).mean(-1) for t in (present, absent)]
    score = (sides[0] - sides[1]).cpu().numpy()
    n = max(1, round(share * len(score)))
    order = np.argsort(score, kind="stable")
    guessed = np.full(len(score), -1, dtype=np.int64)
    guessed[order[:n]], guessed[order[-n:]] = 0, 1
    return guessed


def guess_quality(guessed: np.ndarray, attribute: np.ndarray) -> float:
    """Return the share of guessed images, 0…1, whose attribute was guessed right."""
    known = guessed >= 0
    return float((guessed[known] == attribute[known]).mean())
