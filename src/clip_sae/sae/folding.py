"""Exact rewritings of an SAE's arrays: the same outputs in this project's conventions.

One convention holds for every SAE here: b_dec is subtracted before the encoder, inputs carry no
constant scale, and rows of W_dec have unit norm, because steering moves a token along the unit
vector n_j (steering paper Eq. 4). Each function returns arrays that give the same reconstruction.
The gated fold follows from Rajamanoharan et al. 2024 (arXiv 2404.16014), Eqs. 5 to 7.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch


@dataclass(frozen=True)
class Arrays:
    """`W_enc` [d_model, latent], `b_enc` [latent], `W_dec` [latent, d_model], `b_dec` [d_model].

    `threshold` [latent] where latents are read as JumpReLU, else None.
    """

    W_enc: torch.Tensor
    b_enc: torch.Tensor
    W_dec: torch.Tensor
    b_dec: torch.Tensor
    threshold: torch.Tensor | None = None

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the arrays that are not None, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def to(self, dtype: torch.dtype) -> Arrays:
        """Return the same arrays in another precision."""
        return Arrays(**{name: value.to(dtype) for name, value in self.tensors().items()})


def fold_gated(
    W_enc: torch.Tensor, r_mag: torch.Tensor, b_gate: torch.Tensor, b_mag: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return (W_enc, b_enc, threshold) of the JumpReLU SAE that equals a gated one.

    With h = (z - b_dec) W_enc, the gated latent is 1[h + b_gate > 0] ReLU(u), u = exp(r_mag) h +
    b_mag. The gate opens where u > b_mag - exp(r_mag) b_gate, so it is a threshold on u.
    """
    scale = r_mag.exp()
    return W_enc * scale, b_mag.clone(), (b_mag - scale * b_gate).clamp_min(0)


def fold_uncentred_input(arrays: Arrays) -> Arrays:
    """Return arrays for z - b_dec as the encoder's input from arrays made for z itself."""
    return replace(arrays, b_enc=arrays.b_enc + arrays.b_dec @ arrays.W_enc)


def fold_input_scale(arrays: Arrays, scale: float) -> Arrays:
    """Return arrays for raw tokens from an SAE of scaled ones, x_hat = SAE(scale x) / scale.

    Latents keep their units, and so their thresholds.
    """
    return replace(
        arrays, W_enc=arrays.W_enc * scale, W_dec=arrays.W_dec / scale, b_dec=arrays.b_dec / scale
    )


def scale_latents(arrays: Arrays, factor: torch.Tensor) -> Arrays:
    """Multiply each latent by its positive factor [latent] (or one for all) and undo it in W_dec.

    Exact for ReLU and JumpReLU, and for TopK where the factor is the same for all latents or where
    the k latents are chosen after the scaling.
    """
    factor = factor.expand(len(arrays.b_enc))
    threshold = None if arrays.threshold is None else arrays.threshold * factor
    return Arrays(
        arrays.W_enc * factor,
        arrays.b_enc * factor,
        arrays.W_dec / factor[:, None],
        arrays.b_dec,
        threshold,
    )


def fold_decoder_norm(arrays: Arrays) -> Arrays:
    """Return arrays with unit rows in W_dec; latents are multiplied by their rows' norms.

    A row of zeros has no direction and is left as it is.
    """
    norms = arrays.W_dec.norm(dim=1)
    return scale_latents(arrays, torch.where(norms > 0, norms, 1))
