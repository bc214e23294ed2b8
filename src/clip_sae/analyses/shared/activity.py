"""Firing of an SAE's latents, per token and per latent, from one pass over a store.

Feeds the L0 maps (§5, Figs 4 and 8) and the firing rates, so that a store is encoded once for both.
"""

from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from clip_sae.sae import Sae
from clip_sae.store import ActivationStore, to_float32


@dataclass(frozen=True)
class LatentActivity:
    """Firing of one SAE on the images of one store. Token 0 is CLS, patch = token − 1."""

    l0: np.ndarray  # [image, token] int32: latents above zero
    norm: np.ndarray  # [image, token] float32: ‖x‖₂ of the stored token
    cls_fired: np.ndarray  # [latent] int64: images whose CLS token fires the latent
    patch_fired: np.ndarray  # [latent] int64: patches that fire the latent
    source_index: np.ndarray  # [image] int64: manifest row of each image

    @property
    def n_images(self) -> int:
        return self.l0.shape[0]

    @property
    def n_patches(self) -> int:
        return self.l0.shape[1] - 1

    def fired(self, tokens: str = "all") -> tuple[np.ndarray, int]:
        """Return firing counts `[latent]` and the number of tokens; tokens: all, cls or patch."""
        if tokens == "cls":
            return self.cls_fired, self.n_images
        if tokens == "patch":
            return self.patch_fired, self.n_images * self.n_patches
        if tokens == "all":
            return self.cls_fired + self.patch_fired, self.l0.size
        raise ValueError(f"tokens {tokens!r} is not known; write 'all', 'cls' or 'patch'")


@torch.inference_mode()
def measure_activity(
    store: ActivationStore,
    sae: Sae,
    *,
    batch_images: int = 64,
    max_images: int | None = None,
    progress: bool = True,
) -> LatentActivity:
    """Return the activity on the first `max_images` images (all by default) of `store`.

    Stores hold images in a seeded random order, so the first ones are a random sample. Runs on the
    device of the SAE's weights. Errors: a `d_model` that differs between store and SAE.
    """
    check_width(store, sae)
    n_images = images_to_read(store, max_images)
    device = sae.W_dec.device
    l0 = np.empty((n_images, store.n_tokens), dtype=np.int32)
    norm = np.empty((n_images, store.n_tokens), dtype=np.float32)
    fired = torch.zeros(2, sae.W_dec.shape[0], dtype=torch.int64, device=device)
    for start in tqdm(
        range(0, n_images, batch_images), desc="L0", unit="batch", disable=not progress
    ):
        stop = min(start + batch_images, n_images)
        x = torch.from_numpy(to_float32(store.read(start, stop))).to(
            device
        )  # [image token d_model]
        active = sae.encode(x).latents > 0  # [image token d_sae]
        l0[start:stop] = active.sum(-1).cpu().numpy()
        norm[start:stop] = torch.linalg.vector_norm(x, dim=-1).cpu().numpy()
        fired[0] += active[:, 0].sum(0)
        fired[1] += active[:, 1:].sum((0, 1))
    cls_fired, patch_fired = fired.cpu().numpy()
    source_index = np.asarray(store.source_index)[:n_images]
    return LatentActivity(l0, norm, cls_fired, patch_fired, source_index)


def images_to_read(store: ActivationStore, max_images: int | None) -> int:
    """Return the number of images to use: all, or `max_images` if fewer; at least one."""
    n_images = store.n_images if max_images is None else min(max_images, store.n_images)
    if n_images < 1:
        raise ValueError(
            f"nothing to read: max_images is {max_images} and {store.path} holds "
            f"{store.n_images} images; request at least one"
        )
    return n_images


def check_width(store: ActivationStore, sae: Sae) -> None:
    """Raise ValueError for an SAE that was trained on tokens of another width."""
    if store.d_model != sae.W_dec.shape[1]:
        raise ValueError(
            f"the SAE reads d_model {sae.W_dec.shape[1]}, {store.path} holds d_model "
            f"{store.d_model}; give the SAE and the store of one model, hook and layer"
        )
