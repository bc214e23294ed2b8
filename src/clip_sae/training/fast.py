"""Fast passes of the six architectures: their formulas on sparse or chunked latents.

Each computes what its file in `clip_sae.architectures` says, with gradients written by hand: only
latents that are not zero, or near their threshold, cost anything.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from clip_sae.architectures import SaeArchitecture
from clip_sae.training.codes import SparseCodes
from clip_sae.training.encoders import BatchTopKEncoder, ReluEncoder, TopKEncoder
from clip_sae.training.entries import entries_where
from clip_sae.training.losses import Losses, StepInput, miss, reconstruct
from clip_sae.training.method import Method
from clip_sae.training.selection import pre_activations
from clip_sae.training.weights import Weights
from clip_sae.training.workspace import chunks


class FastMethod(Method):
    """A pass with gradients of its own, on any share of a batch."""

    shares_batches = True

    def input_gradient(self, weights: Weights, grads: Weights) -> torch.Tensor:
        return grads.b_enc


class FastVanilla(FastMethod):
    """ReLU and the L1 term."""

    def backward(self, step: StepInput) -> Losses:
        weights = step.weights
        per_unit = self.own.l1_coefficient * step.pressure / step.target.n_tokens
        codes = ReluEncoder(self.workspace).encode(step.z, weights)
        if self.unit_norm:
            return reconstruct(step, codes, per_unit)
        norms = torch.linalg.vector_norm(weights.W_dec, dim=1)
        losses = reconstruct(step, codes, per_unit * norms)
        slope = (losses.sums * per_unit / norms.clamp_min(1e-12)).unsqueeze(1)
        step.grads.W_dec.addcmul_(weights.W_dec, slope)
        return losses


class FastTopK(FastMethod):
    """The k largest of each token."""

    selects = True

    def backward(self, step: StepInput) -> Losses:
        codes = TopKEncoder(self.own.k, self.workspace).encode(step.z, step.weights)
        return reconstruct(step, codes, 0.0)


class FastBatchTopK(FastMethod):
    """The k x token largest of a batch, and the squared errors of all prefixes (Matryoshka)."""

    selects = True

    def backward(self, step: StepInput) -> Losses:
        encoder = BatchTopKEncoder(self.own.k, self.workspace, self.replicas)
        codes = encoder.encode(step.z, step.weights)
        prefixes = self.own.nested(self.d_sae)
        if prefixes == (self.d_sae,):
            losses = reconstruct(step, codes, 0.0)
        else:
            losses = self._nested(step, codes, prefixes)
        self.smallest_kept = encoder.smallest_kept
        return losses

    def _nested(
        self,
        step: StepInput,
        encoded: Iterable[tuple[slice, SparseCodes]],
        prefixes: tuple[int, ...],
    ) -> Losses:
        target, weights, grads = step.target, step.weights, step.grads
        losses = Losses.zero(target, weights)
        bounds = list(zip((0, *prefixes[:-1]), prefixes, strict=True))
        for tokens, codes in encoded:
            losses.count(codes, active=step.count_active)
            groups = [codes.columns_from(a, b) for a, b in bounds]
            slopes = []
            z_hat = weights.b_dec.expand(len(step.z[tokens]), -1)
            for group in groups:
                z_hat = z_hat + group.decode(weights.W_dec)
                loss, g = miss(target, tokens, z_hat.clone(), losses.error[tokens])
                losses.reconstruction += loss / len(groups)
                slopes.append(g / len(groups))
            slope = torch.zeros_like(z_hat)
            for group, g in zip(reversed(groups), reversed(slopes), strict=True):
                slope += g  # a latent is part of its own group's prefix and of all longer ones
                group.backward(grads, step.z[tokens], slope, weights.W_dec, 0.0)
            grads.b_dec.add_(slope.sum(dim=0))
        return losses


class FastJumpRelu(FastMethod):
    """Thresholds with the straight-through estimator."""

    def backward(self, step: StepInput) -> Losses:
        target, weights, grads = step.target, step.weights, step.grads
        threshold, bandwidth = weights.own["threshold"], self.own.bandwidth
        losses = Losses.zero(target, weights)
        near = torch.zeros_like(weights.b_enc)
        active = torch.zeros_like(losses.n_active)
        for tokens in chunks(step.z):
            z = step.z[tokens]
            pre_acts = pre_activations(z, weights, self.workspace)
            reaches = pre_acts > threshold - bandwidth / 2
            entries, p, reaches = entries_where(pre_acts, reaches)
            theta = entries.spread(threshold)
            opened = (p > theta) & (p > 0)
            is_near = reaches & (p < theta + bandwidth / 2)
            near += entries.total(is_near.to(p))
            active += torch.count_nonzero(opened)
            latents = p * opened
            z_hat = entries.decode(latents, weights.W_dec).add_(weights.b_dec)
            loss, g = miss(target, tokens, z_hat, losses.error[tokens])
            losses.reconstruction += loss
            losses.sums += entries.total(latents)
            entries.add_(grads.W_dec, latents, g)
            grads.b_dec.add_(g.sum(dim=0))
            d_latents = entries.product(g, weights.W_dec)
            # A latent falls from θ to 0 where θ passes p: dL/dθ = -(θ/ε) Σ 1[near] dL/df.
            through = entries.total(d_latents * is_near)
            grads.own["threshold"].addcmul_(threshold, through, value=-1 / bandwidth)
            d_pre = d_latents * opened
            entries.add_(grads.W_enc_rows, d_pre, z)
            grads.b_enc.add_(entries.total(d_pre))
        losses.n_active = active.clone()
        slope = self._sparsity(losses, active, target.n_tokens, step.pressure)
        grads.own["threshold"].sub_(near * (slope / (bandwidth * target.n_tokens)))
        return losses

    def _sparsity(
        self, losses: Losses, active: torch.Tensor, n_tokens: int, pressure: float
    ) -> torch.Tensor:
        """Set the sparsity loss from the number of active latents; return its slope over L0."""
        self.replicas.sum_(active)
        l0 = active.to(losses.sums) / n_tokens
        coefficient = self.own.l0_coefficient * pressure
        if self.own.target_l0 is None:
            loss, slope = coefficient * l0, torch.full_like(l0, coefficient)
        else:
            excess = l0 / self.own.target_l0 - 1
            loss, slope = coefficient * excess**2, 2 * coefficient / self.own.target_l0 * excess
        # This replica's share of the loss; the shares are added up with the other losses.
        losses.sparsity = loss / self.replicas.size
        return slope


class FastGated(FastMethod):
    """Gates and magnitudes from one product with the encoder."""

    def backward(self, step: StepInput) -> Losses:
        target, weights, grads = step.target, step.weights, step.grads
        b_gate, r_mag = weights.own["b_gate"], weights.own["r_mag"]
        losses = Losses.zero(target, weights)
        l1 = self.own.l1_coefficient * step.pressure / target.n_tokens
        for tokens in chunks(step.z):
            z = step.z[tokens]
            hidden = self.workspace.get("pre_acts", len(z), self.d_sae, like=z)
            torch.mm(z, weights.W_enc_rows.T, out=hidden)
            entries, h, opened = entries_where(hidden, hidden > -b_gate)
            scale = entries.spread(r_mag.exp())
            gate = (h + entries.spread(b_gate)) * opened
            magnitude = h * scale + entries.spread(weights.b_enc)
            fires = opened & (magnitude > 0)
            latents = magnitude * fires
            z_hat = entries.decode(latents, weights.W_dec).add_(weights.b_dec)
            loss, g = miss(target, tokens, z_hat, losses.error[tokens])
            losses.reconstruction += loss
            losses.sums += entries.total(latents)
            if step.count_active:
                losses.n_active += torch.count_nonzero(fires)
            entries.add_(grads.W_dec, latents, g)
            grads.b_dec.add_(g.sum(dim=0))
            d_magnitude = entries.product(g, weights.W_dec) * fires
            grads.b_enc.add_(entries.total(d_magnitude))
            grads.own["r_mag"].add_(entries.total(d_magnitude * h * scale))
            # The gate learns only here: the step of f at π = 0 has no gradient.
            z_gate = entries.decode(gate, weights.W_dec).add_(weights.b_dec)
            loss, g = miss(target, tokens, z_gate, torch.empty_like(z_gate))
            losses.sparsity += loss + l1 * gate.sum()
            d_gate = (entries.product(g, weights.W_dec) + l1) * opened
            grads.own["b_gate"].add_(entries.total(d_gate))
            entries.add_(grads.W_enc_rows, d_gate + d_magnitude * scale, z)
        return losses

    def input_gradient(self, weights: Weights, grads: Weights) -> torch.Tensor:
        return weights.own["r_mag"].exp() * grads.b_enc + grads.own["b_gate"]


FAST: dict[str, type[FastMethod]] = {
    "vanilla": FastVanilla,
    "topk": FastTopK,
    "batchtopk": FastBatchTopK,
    "matryoshka": FastBatchTopK,
    "jumprelu": FastJumpRelu,
    "gated": FastGated,
}


def method_of(own: SaeArchitecture) -> type[Method]:
    """Return the fast pass of an architecture, or the one by autograd where it has none."""
    return FAST.get(own.name, Method)
