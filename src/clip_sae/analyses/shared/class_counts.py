"""Tokens of each class on which each latent is clearly active: class-level activation.

PatchSAE §3.2: per class and latent, the number of tokens, over all images of the class, at which
f > 0.2. Whole numbers, so that neither the order of images nor of shards can change them.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from clip_sae.analyses.shared.store_images import StoreImages
from clip_sae.npz import read_arrays, write_arrays
from clip_sae.sae import Sae

THRESHOLD = 0.2  # the authors', in units of the SAE's input norm


@dataclass(frozen=True)
class ClassCounts:
    """Class-level activation of every latent of one SAE.

    Attributes:
        counts: [class, latent] tokens of the class's images with f above the threshold.
        n_images: [class] images.
        active: [latent] tokens of any image with f > 0; 0 is a dead latent.
    """

    counts: np.ndarray
    n_images: np.ndarray
    active: np.ndarray

    @property
    def alive(self) -> np.ndarray:
        """[latent] bool, True where it fires on some token."""
        return self.active > 0

    def ranked(self) -> np.ndarray:
        """Return [class, latent]: every latent, by descending count.

        Equal counts: alive latents before dead ones, then by their number. Latents of count 0 come
        last, although they carry no information about the class.
        """
        return np.argsort(-(2 * self.counts + self.alive), axis=1, kind="stable")


class ClassCounter:
    """Adds up class-level activation, batch after batch."""

    def __init__(
        self, n_classes: int, n_latents: int, *, threshold: float = THRESHOLD, device="cpu"
    ) -> None:
        self.threshold = threshold
        self._counts = torch.zeros(n_classes, n_latents, dtype=torch.int64, device=device)
        self._active = torch.zeros(n_latents, dtype=torch.int64, device=device)
        self._n_images = np.zeros(n_classes, dtype=np.int64)

    def add(self, latents: Tensor, label: np.ndarray) -> None:
        """Add `latents` [image, token, latent] of images with class indices `label` [image]."""
        found = (latents > self.threshold).sum(1)  # [image latent]
        self._counts.index_add_(0, torch.as_tensor(label, device=found.device), found)
        self._active += (latents > 0).sum((0, 1))
        self._n_images += np.bincount(label, minlength=len(self._n_images))

    def result(self) -> ClassCounts:
        """Return the counts so far."""
        return ClassCounts(self._counts.cpu().numpy(), self._n_images, self._active.cpu().numpy())


@torch.inference_mode()
def class_activation(
    images: StoreImages,
    label: np.ndarray,
    sae: Sae,
    n_classes: int,
    *,
    threshold: float = THRESHOLD,
    device: str | torch.device = "cpu",
    progress: bool = True,
) -> ClassCounts:
    """Return the class-level activation of `sae` on all tokens of `images`.

    Args:
        label: class index of every row of the manifest.
        sae: on `device`.
        threshold: f above which a token counts.
    """
    device = torch.device(device)
    counter = ClassCounter(n_classes, sae.d_sae, threshold=threshold, device=device)
    for which, x in images.batches(device, "classes" if progress else None):
        counter.add(sae.encode(x).latents, label[images.rows[which]])
    return counter.result()


def write_class_counts(path: Path, found: ClassCounts) -> None:
    """Write one .npz with only the entries of `counts` above zero, as most are zero."""
    at_class, at_latent = np.nonzero(found.counts)
    arrays = {
        "shape": np.array(found.counts.shape),
        "at_class": at_class.astype(np.int32),
        "at_latent": at_latent.astype(np.int32),
        "count": found.counts[at_class, at_latent],
        "n_images": found.n_images,
        "active": found.active,
    }
    write_arrays(path, arrays)


def read_class_counts(path: Path) -> ClassCounts:
    """Read what `write_class_counts` wrote."""
    arrays = read_arrays(path)
    counts = np.zeros(arrays["shape"], dtype=np.int64)
    counts[arrays["at_class"], arrays["at_latent"]] = arrays["count"]
    return ClassCounts(counts, arrays["n_images"], arrays["active"])
