"""Values of chosen latents at every token, computed when they are asked for.

Steering paper Eq. 4 needs f_j(x) of the steered latents only. All 49,152 latents of 192 images
would take 2 GB, and every unit batch needs a few columns of them.
"""

import torch
from torch import Tensor

from clip_sae.sae import Sae
from clip_sae.sae.module import normalise_tokens, token_statistics


class LatentValues:
    """Latents of an SAE on tokens x [image, token, d_model].

    Attributes:
        std: σ(x) [image, token, 1], as `Sae.token_scale`.
        mean: mean over all latents [image, token, 1].
    """

    def __init__(self, sae: Sae, x: Tensor, batch_images: int = 16) -> None:
        self.sae = sae
        floors, means = [], []
        for part in x.split(batch_images):
            code = sae.encode(part)
            means.append(code.latents.mean(-1, keepdim=True))
            floors.append(_floor(code.pre_acts, sae.k))
        self.mean = torch.cat(means)
        self._floor = torch.cat(floors)  # [image token 1]
        mean, self.std = token_statistics(x, sae.input_norm)
        self._z = normalise_tokens(x, mean, self.std, sae.input_norm) - sae.b_dec

    def __call__(self, latents: Tensor) -> Tensor:
        """Return f of the latents [image, token, latent], as `Sae.encode` gives them."""
        sae = self.sae
        pre_acts = self._z @ sae.W_enc[:, latents] + sae.b_enc[latents]
        if sae.k is not None:
            return pre_acts.relu() * (pre_acts > self._floor)
        threshold = None if sae.threshold is None else sae.threshold[latents]
        return sae.activation(pre_acts, threshold)


def _floor(pre_acts: Tensor, k: int | None) -> Tensor:
    """Where TopK cuts a token [..., 1]: halfway below the k-th value, so that rounding keeps it."""
    if k is None or k == pre_acts.shape[-1]:
        return torch.full_like(pre_acts[..., :1], -torch.inf)
    return pre_acts.topk(k + 1, dim=-1).values[..., -2:].mean(-1, keepdim=True)
