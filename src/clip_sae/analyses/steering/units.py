"""What a unit is: a direction, and how far each token is pushed along it at strength s.

Steering paper Eq. 4, x′ = x + σ(x)(s − f_j(x)) n_j at every token. A neuron is x_j := s. Baselines
are pushed as far as the mean latent is, so that a comparison is one of directions.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from clip_sae.analyses.shared.edits import ERRORS
from clip_sae.analyses.shared.untrained import untrained_sae
from clip_sae.analyses.steering.latents import LatentValues
from clip_sae.sae import Sae

KINDS = ("latent", "neuron", "neuron_equal_push", "random", "pca", "random_sae")
OF_AN_SAE = ("latent", "random_sae")  # kinds that have latents of their own


@dataclass(frozen=True)
class Units:
    """Units of one kind at one layer, on fixed images.

    Attributes:
        kind: one of KINDS.
        x: what is pushed [image, token, d_model].
        directions: [unit, d_model].
        alive: [unit] bool, whether the unit ever fires; all True where a kind has no such state.
        ids: [unit] int64, the numbers of the units among all that exist.
        scale: σ(x), broadcastable to [image, token, 1]: how far a strength of 1 moves a token.
        before: unit indices [unit] to the values that they have now, broadcastable to
            [image, token, unit].
        n_existing: how many units there are; more than these where they are a sample.
    """

    kind: str
    x: Tensor
    directions: Tensor
    alive: np.ndarray
    scale: Tensor
    before: Callable[[Tensor], Tensor]
    ids: np.ndarray
    n_existing: int

    def __len__(self) -> int:
        return len(self.directions)

    def sample(self, n: int | None, seed: int) -> "Units":
        """Return `n` of the units, drawn at random, in ascending order; all of them for None."""
        if n is None or n >= len(self):
            return self
        chosen = np.sort(np.random.default_rng(seed).choice(len(self), n, replace=False))
        index = torch.from_numpy(chosen).to(self.directions.device)
        return replace(
            self,
            directions=self.directions[index],
            alive=self.alive[chosen],
            ids=self.ids[chosen],
            before=lambda units: self.before(index[units]),
        )

    def pushes(self, units: Tensor, strength: float | Tensor) -> Tensor:
        """Return [image, token, unit]: how far x′ lies from x along each unit's direction."""
        pushes = self.scale * (strength - self.before(units))
        return pushes.expand(*self.x.shape[:2], len(units))


def latent_units(x: Tensor, sae: Sae, alive: np.ndarray, *, error: str = "keep") -> Units:
    """The latents of an SAE, trained or not (Eq. 4).

    Args:
        alive: [latent] bool.
        error: "keep" pushes x; "drop" pushes the reconstruction, x′ = decode(f with f_j := s).
    """
    if error not in ERRORS:
        raise ValueError(f"error {error!r} does not exist; write {', '.join(ERRORS)}.")
    latents = LatentValues(sae, x)
    base = x if error == "keep" else torch.cat([sae(part).x_hat for part in x.split(16)])
    return _units("latent", base, sae.W_dec, latents.std, latents, alive)


def neuron_units(x: Tensor) -> Units:
    """The coordinates of the residual, x_j := s: an absolute value, in raw units (§6)."""
    axes = torch.eye(x.shape[-1], device=x.device)
    one = torch.ones_like(x[:1, :1, :1])
    return _units("neuron", x, axes, one, lambda units: x[..., units])


def equal_push_units(kind: str, x: Tensor, sae: Sae, directions: Tensor) -> Units:
    """Directions [unit, d_model] of unit length, pushed as far as the mean latent of `sae`.

    At every token ‖x′ − x‖ = σ(x)(s − mean_j f_j(x)), which is the mean of the latents' own pushes
    wherever s is above them all.
    """
    latents = LatentValues(sae, x)
    return _units(kind, x, directions, latents.std, lambda units: latents.mean)


def units_of(
    kind: str,
    x: Tensor,
    sae: Sae,
    alive: Callable[[Sae], np.ndarray],
    *,
    error: str = "keep",
    n: int | None = None,
    seed: int = 0,
) -> Units:
    """Return the units of one kind on tokens x [image, token, d_model].

    Args:
        alive: which latents of an SAE ever fire; asked for kinds that have latents only.
        n: the most units, drawn at random; None is all, and for "random" as many as latents.
        seed: of the draw, the random directions and the untrained SAE.
    """
    if kind not in KINDS:
        raise ValueError(f"units {kind!r} do not exist; write {', '.join(KINDS)}.")
    if kind in OF_AN_SAE:
        of = sae if kind == "latent" else untrained_sae(sae, x, seed)
        units = replace(latent_units(x, of, alive(of), error=error), kind=kind)
    elif kind == "neuron":
        units = neuron_units(x)
    elif kind == "random":
        units = equal_push_units(kind, x, sae, random_directions(x, n or len(sae.W_dec), seed))
    else:
        directions = neuron_directions if kind == "neuron_equal_push" else pca_directions
        units = equal_push_units(kind, x, sae, directions(x))
    return units.sample(n, seed)


def _units(kind: str, x: Tensor, directions: Tensor, scale: Tensor, before, alive=None) -> Units:
    n = len(directions)
    alive = np.ones(n, dtype=bool) if alive is None else alive
    return Units(kind, x, directions, alive, scale, before, np.arange(n), n)


def neuron_directions(x: Tensor) -> Tensor:
    """The coordinate axes [d_model, d_model]."""
    return torch.eye(x.shape[-1], device=x.device)


def random_directions(x: Tensor, n: int, seed: int) -> Tensor:
    """Return [n, d_model] of unit length, uniform on the sphere; drawn on the CPU."""
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(n, x.shape[-1], generator=generator), dim=-1).to(x.device)


def pca_directions(x: Tensor) -> Tensor:
    """Return the principal directions of all tokens of x [d_model, d_model], largest first.

    A direction's sign is arbitrary: here its largest coordinate is positive.
    """
    tokens = x.reshape(-1, x.shape[-1]).double()
    centred = tokens - tokens.mean(0)
    _, vectors = torch.linalg.eigh(centred.T @ centred)
    directions = vectors.T.flip(0)
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    return (directions * largest.sign()).to(x.dtype)
