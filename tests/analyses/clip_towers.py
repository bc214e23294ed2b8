"""A tiny CLIP's images, and an SAE of the width of its residuals."""

import numpy as np
import torch

from clip_sae.sae import Sae


def images_of(model, n, seed=0):
    """Normalised pixels of n random images."""
    size = model.architecture.image_size
    rng = np.random.default_rng(seed)
    return model.normalise(rng.integers(0, 256, (n, size, size, 3), dtype=np.uint8))


def sae_for(x, architecture="vanilla", k=None, input_norm="layer_norm", d_sae=48, seed=0):
    """An SAE with random unit rows on tokens x [image, token, d_model]."""
    generator = torch.Generator().manual_seed(seed)
    d_model = x.shape[-1]
    sae = Sae(d_model, d_sae, architecture, k=k, input_norm=input_norm)
    rows = torch.randn(d_sae, d_model, generator=generator)
    sae.W_dec.copy_(rows / rows.norm(dim=1, keepdim=True))
    sae.W_enc.copy_(sae.W_dec.T)
    sae.b_enc.copy_(0.3 * torch.randn(d_sae, generator=generator))
    sae.b_dec.copy_(0.1 * torch.randn(d_model, generator=generator))
    if sae.threshold is not None:
        sae.threshold.fill_(0.2)
    return sae
