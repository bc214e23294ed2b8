"""Matryoshka SAE: every prefix of the dictionary reconstructs by itself.

Bussmann et al. 2025 (nested in width, on BatchTopK codes): the loss is the mean over prefixes of
the squared error of decoding with the first m latents only.
"""

from __future__ import annotations

import torch

from clip_sae.training.losses import Losses, miss
from clip_sae.training.parallel import Replicas
from clip_sae.training.targets import Target
from clip_sae.training.topk import BatchTopK
from clip_sae.training.weights import Weights
from clip_sae.training.workspace import Workspace


class Matryoshka(BatchTopK):
    """`prefixes`: numbers of latents, ascending, the last one d_sae.

    ASSUME: the mean over prefixes (released trainers take the sum, the mean, or both), so that the
    loss has the scale of the other architectures'. The logged explained variance and AuxK take the
    whole dictionary's error.
    """

    trained_as = "matryoshka_batchtopk"

    def __init__(
        self, k: int, prefixes: tuple[int, ...], workspace: Workspace, replicas: Replicas
    ) -> None:
        super().__init__(k, workspace, replicas)
        self.prefixes = prefixes

    def backward(
        self,
        target: Target,
        weights: Weights,
        grads: Weights,
        *,
        pressure: float,
        count_active: bool,
    ) -> Losses:
        z = target.z - weights.b_dec
        losses = Losses.zero(target, weights)
        for tokens, codes in self.encoder.encode(z, weights):
            losses.count(codes, active=count_active)
            groups = [codes.columns_from(a, b) for a, b in self._bounds()]
            slopes = []
            z_hat = weights.b_dec.expand(len(z[tokens]), -1)
            for group in groups:
                z_hat = z_hat + group.decode(weights.W_dec)
                loss, g = miss(target, tokens, z_hat.clone(), losses.error[tokens])
                losses.reconstruction += loss / len(groups)
                slopes.append(g / len(groups))
            slope = torch.zeros_like(z_hat)
            for group, g in zip(reversed(groups), reversed(slopes), strict=True):
                slope += g  # a latent is part of its own group's prefix and of all longer ones
                group.backward(grads, z[tokens], slope, weights.W_dec, 0.0)
            grads.b_dec.add_(slope.sum(dim=0))
        return losses

    def _bounds(self) -> list[tuple[int, int]]:
        return list(zip((0, *self.prefixes[:-1]), self.prefixes, strict=True))
