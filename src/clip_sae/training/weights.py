"""The arrays of an SAE while it is trained, and their starting values.

Steering paper App. 10: encoder initialised as the decoder's transpose, unit-norm decoder rows,
`b_dec` at the geometric median of the tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch

from clip_sae.sae import Sae
from clip_sae.sae.folding import Arrays

ARRAYS = ("W_enc_rows", "b_enc", "W_dec", "b_dec")


@dataclass
class Weights:
    """An SAE's arrays, or others of their shapes: gradients, Adam's moments.

    The encoder is kept by rows, `W_enc_rows` [latent, d_model] = W_enc transposed, so that sparse
    gradients add up row by row and dead latents are read without strides. `own`: arrays [latent]
    of the architecture's own (`SaeArchitecture.start`).
    """

    W_enc_rows: torch.Tensor
    b_enc: torch.Tensor
    W_dec: torch.Tensor
    b_dec: torch.Tensor
    own: dict[str, torch.Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, tensors: dict[str, torch.Tensor]) -> Weights:
        """Return the weights whose `tensors()` are given."""
        own = {name: tensor for name, tensor in tensors.items() if name not in ARRAYS}
        return cls(*(tensors[name] for name in ARRAYS), own)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the arrays that this SAE has by name, in a fixed order."""
        return {name: getattr(self, name) for name in ARRAYS} | self.own

    def zeros_like(self) -> Weights:
        """Return new zeros of the same shapes."""
        return Weights.of({name: torch.zeros_like(t) for name, t in self.tensors().items()})

    def zero_(self) -> None:
        """Set all arrays to zero."""
        for tensor in self.tensors().values():
            tensor.zero_()

    def rows(self, latents: torch.Tensor) -> Weights:
        """Return a copy with the given latents [row] only; `b_dec` is shared."""
        return Weights(
            self.W_enc_rows[latents], self.b_enc[latents], self.W_dec[latents], self.b_dec
        )

    def add_rows_(self, latents: torch.Tensor, other: Weights, scale: torch.Tensor) -> None:
        """Add `scale` x the rows of `other` to the given latents."""
        for name in ("W_enc_rows", "b_enc", "W_dec"):
            getattr(self, name).index_add_(0, latents, getattr(other, name) * scale)

    def arrays(self) -> Arrays:
        """Return the four arrays of an SAE on the CPU."""
        found = Arrays(self.W_enc_rows.T, self.b_enc, self.W_dec, self.b_dec)
        return Arrays(**{name: tensor.cpu() for name, tensor in found.tensors().items()})


def to_sae(
    arrays: Arrays, architecture: str, input_norm: str, trained_as: str, *, k: int | None = None
) -> Sae:
    """Return the SAE with a copy of `arrays`; `trained_as` is SAELens' word for its training."""
    d_sae, d_model = arrays.W_dec.shape
    sae = Sae(d_model, d_sae, architecture, k=k, input_norm=input_norm)
    for name, tensor in arrays.tensors().items():
        getattr(sae, name).copy_(tensor)
    sae.training_architecture = trained_as
    return sae


def initial_weights(
    d_model: int, d_sae: int, b_dec: torch.Tensor, seed: int, *, row_norm: float = 1.0
) -> Weights:
    """Return starting weights: random decoder rows, their transpose as encoder, zero b_enc.

    `row_norm`: norm of the decoder's rows. Drawn on the CPU, so that every device starts from the
    same numbers.
    """
    generator = torch.Generator().manual_seed(seed)
    W_dec = torch.empty(d_sae, d_model)
    torch.nn.init.kaiming_uniform_(W_dec, a=math.sqrt(5), generator=generator)
    W_dec = W_dec.to(b_dec)
    W_dec /= W_dec.norm(dim=1, keepdim=True) / row_norm
    return Weights(W_dec.clone(), b_dec.new_zeros(d_sae), W_dec, b_dec.clone())


def geometric_median(
    points: torch.Tensor, *, max_iterations: int = 200, tolerance: float = 1e-10
) -> torch.Tensor:
    """Return the point [d_model] with the smallest mean distance to points [token, d_model].

    Weiszfeld's iteration from the mean, until the mean distance falls by less than `tolerance`
    (relative) or after `max_iterations` (the paper's code: 200).
    """
    median = points.mean(dim=0)
    previous = math.inf
    for _ in range(max_iterations):
        distances = torch.linalg.vector_norm(points - median, dim=1)
        objective = distances.sum(dtype=torch.float64).item()
        if previous - objective <= tolerance * objective:
            break
        previous = objective
        weights = 1 / distances.clamp_min(1e-6)
        median = (weights @ points) / weights.sum()
    return median


def centre(points: torch.Tensor, how: str) -> torch.Tensor:
    """Return the starting `b_dec` [d_model] from points [token, d_model] by a recipe's word."""
    if how == "geometric_median":
        return geometric_median(points)
    if how == "mean":
        return points.mean(dim=0)
    if how == "zeros":
        return torch.zeros_like(points[0])
    raise ValueError(f"unknown b_dec_init {how!r}; known: geometric_median, mean, zeros.")
