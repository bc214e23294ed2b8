"""The sparse autoencoder: input norm, encoder, activation, unit-norm decoder.

Steering paper Eq. 3, x = Σ_j f_j(x) n_j + b + ε(x); n_j is row j of `W_dec`.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from clip_sae.sae.activations import make_activation
from clip_sae.sae.files import INPUT_NORMS, load_folder, save_folder

NORM_EPS = 1e-5  # outside the root, as in SAELens and the paper's code


class EncodeOutput(NamedTuple):
    """`latents`, `pre_acts` [..., latent]; `mean`, `std` [..., 1] of the token over d_model."""

    latents: torch.Tensor
    pre_acts: torch.Tensor
    mean: torch.Tensor
    std: torch.Tensor


class SaeOutput(NamedTuple):
    """`x_hat` [..., d_model] in the units of x; `latents` [..., latent]."""

    x_hat: torch.Tensor
    latents: torch.Tensor


def token_statistics(x: torch.Tensor, input_norm: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the number subtracted from each token and its divisor, [..., 1] each.

    layer_norm: mean and unbiased std over d_model; constant_norm_rescale: 0 and
    |x| / sqrt(d_model); none: 0 and 1.
    """
    if input_norm == "layer_norm":
        std, mean = torch.std_mean(x, dim=-1, keepdim=True)
        return mean, std
    if input_norm == "constant_norm_rescale":
        scale = x.norm(dim=-1, keepdim=True) / x.shape[-1] ** 0.5
        return torch.zeros_like(scale), scale
    shape = (*x.shape[:-1], 1)
    return x.new_zeros(shape), x.new_ones(shape)


def normalise_tokens(
    x: torch.Tensor, mean: torch.Tensor, std: torch.Tensor, input_norm: str
) -> torch.Tensor:
    """Return z [..., d_model]: (x - mean) / (std + 1e-5), x / std, or x itself, by the norm."""
    if input_norm == "layer_norm":
        return (x - mean) / (std + NORM_EPS)
    if input_norm == "constant_norm_rescale":
        return x / std.clamp_min(torch.finfo(x.dtype).tiny)  # a token of zeros stays one
    return x


class Sae(nn.Module):
    """A trained or fresh SAE on tokens of width `d_model`.

    `W_enc` [d_model, latent], `b_enc` [latent], `W_dec` [latent, d_model], `b_dec` [d_model];
    `threshold` [latent] for "jumprelu", else None. `architecture` says how latents are read, not
    how the SAE was trained: "vanilla", "topk" (with `k`) or "jumprelu"; `training_architecture` is
    SAELens' word for the latter. `input_norm`: "none", "layer_norm", or "constant_norm_rescale"
    (converted SAEs only). Weights start at zero: clip_sae.training fills them, `Sae.load` reads
    them.
    """

    def __init__(
        self,
        d_model: int,
        d_sae: int,
        architecture: str,
        *,
        k: int | None = None,
        input_norm: str = "none",
    ) -> None:
        super().__init__()
        if input_norm not in INPUT_NORMS:
            raise ValueError(f"unknown input_norm {input_norm!r}; known: {', '.join(INPUT_NORMS)}.")
        self.activation = make_activation(architecture, k, d_sae)
        self.d_model, self.d_sae = d_model, d_sae
        self.k = k if architecture == "topk" else None
        self.architecture, self.input_norm = architecture, input_norm
        self.training_architecture = self.activation.saelens_name
        self.metadata: dict = {}
        self.W_enc = nn.Parameter(torch.zeros(d_model, d_sae), requires_grad=False)
        self.b_enc = nn.Parameter(torch.zeros(d_sae), requires_grad=False)
        self.W_dec = nn.Parameter(torch.zeros(d_sae, d_model), requires_grad=False)
        self.b_dec = nn.Parameter(torch.zeros(d_model), requires_grad=False)
        threshold = nn.Parameter(torch.zeros(d_sae), requires_grad=False)
        self.register_parameter("threshold", threshold if self.activation.has_threshold else None)

    def extra_repr(self) -> str:
        """Return the line that `print(sae)` shows."""
        k = f", k={self.k}" if self.k is not None else ""
        norm = f"input_norm={self.input_norm!r}"
        return f"{self.architecture!r}, d_model={self.d_model}, d_sae={self.d_sae}{k}, {norm}"

    def encode(self, x: torch.Tensor) -> EncodeOutput:
        """Return latents of tokens x [..., d_model] and the statistics that undo the norm."""
        self._check_width(x)
        mean, std = token_statistics(x, self.input_norm)
        z = normalise_tokens(x, mean, std, self.input_norm)
        pre_acts = (z - self.b_dec) @ self.W_enc + self.b_enc  # [... d_sae]
        latents = self.activation(pre_acts, self.threshold)
        return EncodeOutput(latents, pre_acts, mean, std)

    def decode(self, latents: torch.Tensor, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
        """Return x_hat [..., d_model] = (latents W_dec + b_dec) std + mean; keeps no state."""
        z_hat = latents @ self.W_dec + self.b_dec
        return z_hat if self.input_norm == "none" else z_hat * std + mean

    def forward(self, x: torch.Tensor) -> SaeOutput:
        """Return the reconstruction and the latents of tokens x [..., d_model]."""
        code = self.encode(x)
        return SaeOutput(self.decode(code.latents, code.mean, code.std), code.latents)

    def token_scale(self, x: torch.Tensor) -> torch.Tensor:
        """Return σ(x) [..., 1]: moving f_j by 1 moves x_hat by σ(x) n_j (Eq. 4)."""
        return token_statistics(x, self.input_norm)[1]

    def save(
        self, folder: str | Path, metadata: dict, training_architecture: str | None = None
    ) -> None:
        """Write a SAELens folder; `metadata` goes under `metadata.clip_sae` of cfg.json.

        `training_architecture`: standard, topk, batchtopk, jumprelu, gated, matryoshka_batchtopk;
        the SAE's own `training_architecture` by default. cfg.json is written last and whole, so
        its presence means that the weights are complete.
        """
        save_folder(
            Path(folder),
            {name: value.detach() for name, value in self.named_parameters()},
            architecture=self.activation.saelens_name,
            training_architecture=training_architecture or self.training_architecture,
            input_norm=self.input_norm,
            extra=self.activation.config(),
            metadata=metadata,
        )

    @classmethod
    def load(cls, folder: str | Path, device: str | torch.device = "cpu") -> Sae:
        """Read a SAELens folder written by `save` or by SAELens (standard, topk, jumprelu SAEs).

        SAEs of other kinds and formats: `python -m clip_sae convert`.

        Raises FileNotFoundError or SaeFileError naming the file, the key and what was expected.
        `metadata` of the result is cfg.json's `metadata.clip_sae`, {} for a foreign folder.
        """
        loaded = load_folder(Path(folder))
        sae = cls(
            loaded.d_model,
            loaded.d_sae,
            loaded.architecture,
            k=loaded.k,
            input_norm=loaded.input_norm,
        )
        sae.load_state_dict(loaded.tensors, assign=True)
        sae.requires_grad_(False)
        sae.metadata, sae.training_architecture = loaded.metadata, loaded.training_architecture
        return sae.to(device)

    def _check_width(self, x: torch.Tensor) -> None:
        if x.shape[-1] != self.d_model:
            raise ValueError(
                f"this SAE reads tokens of width {self.d_model}, got {x.shape[-1]} in a tensor "
                f"of shape {tuple(x.shape)}. Use the activations of the layer it was trained on."
            )
