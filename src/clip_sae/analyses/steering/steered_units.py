"""Units that can be steered: their directions, and how far strength s pushes each token.

Steering paper Eq. 4, for latents and neurons (x_j := s). Baselines are pushed as far as the mean
latent, so that a comparison with them is one of directions.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from clip_sae.analyses.shared.edits import EncodedTokens, check_error
from clip_sae.analyses.shared.untrained import untrained_sae
from clip_sae.sae import Sae
from clip_sae.sae.module import normalise_tokens, token_statistics

KINDS = ("latent", "neuron", "neuron_equal_push", "random", "pca", "random_sae")
OF_AN_SAE = ("latent", "random_sae")  # kinds that have latents of their own


@dataclass(frozen=True)
class SteeredUnits:
    """Units of one kind at one layer, on fixed images.

    Attributes:
        kind: one of KINDS.
        x: the tokens that are pushed [image, token, d_model].
        directions: [unit, d_model].
        alive: [unit] bool, True if the unit ever fires; all True for kinds without such a state.
        ids: [unit] int64, the numbers of the units among all that exist.
        scale: σ(x), broadcastable to [image, token, 1]: a strength of 1 moves a token this far.
        before: maps unit indices [unit] to their current values, broadcastable to
            [image, token, unit].
        n_existing: number of units that exist; larger than `len` of a sample.
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

    def sample(self, n: int | None, seed: int) -> "SteeredUnits":
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
        """Return [image, token, unit]: the distance of x′ from x along each unit's direction."""
        pushes = self.scale * (strength - self.before(units))
        return pushes.expand(*self.x.shape[:2], len(units))


class LatentValues:
    """Latents of an SAE on tokens x [image, token, d_model], computed for a few at a time.

    Eq. 4 needs f_j(x) of the steered latents only; all 49,152 latents of 192 images take 2 GB.

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
    """Return TopK's cut [..., 1]: halfway below the k-th value, so that rounding keeps it."""
    if k is None or k == pre_acts.shape[-1]:
        return torch.full_like(pre_acts[..., :1], -torch.inf)
    return pre_acts.topk(k + 1, dim=-1).values[..., -2:].mean(-1, keepdim=True)


def latent_units(x: Tensor, sae: Sae, alive: np.ndarray, *, error: str = "keep") -> SteeredUnits:
    """Return the latents of an SAE, trained or not (Eq. 4).

    Args:
        alive: [latent] bool.
        error: "keep" pushes x; "drop" pushes its reconstruction, x′ = decode(f with f_j := s).
    """
    check_error(error)
    latents, base = LatentValues(sae, x), x
    if error == "drop":
        base = torch.cat([EncodedTokens(sae, part).base(error) for part in x.split(16)])
    return _units("latent", base, sae.W_dec, latents.std, latents, alive)


def neuron_units(x: Tensor) -> SteeredUnits:
    """Return the coordinates of the residual, x_j := s: an absolute value, in raw units (§6)."""
    one = torch.ones_like(x[:1, :1, :1])
    return _units("neuron", x, neuron_directions(x), one, lambda units: x[..., units])


def equal_push_units(kind: str, x: Tensor, sae: Sae, directions: Tensor) -> SteeredUnits:
    """Return directions [unit, d_model] of unit length, pushed as far as the mean latent of `sae`.

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
) -> SteeredUnits:
    """Return the units of one kind on tokens x [image, token, d_model].

    Args:
        alive: returns which latents of an SAE ever fire; called for kinds of OF_AN_SAE only.
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


def _units(kind: str, x: Tensor, directions: Tensor, scale: Tensor, before, alive=None):
    n = len(directions)
    alive = np.ones(n, dtype=bool) if alive is None else alive
    return SteeredUnits(kind, x, directions, alive, scale, before, np.arange(n), n)


def neuron_directions(x: Tensor) -> Tensor:
    """Return the coordinate axes [d_model, d_model]."""
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
