"""Auxiliary losses that bring dead latents back: ghost gradients and AuxK.

Steering paper App. 10 (ghost grads); Gao et al. 2024, App. A.2 (AuxK). Each adds gradients to the
dead latents' own rows only (and to b_dec through the encoder's input) and returns its loss.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch

from clip_sae.planning.recipes import SaeRecipe
from clip_sae.training.encoders import ReluEncoder, TopKEncoder
from clip_sae.training.selection import pre_activations
from clip_sae.training.weights import Weights
from clip_sae.training.workspace import Workspace, chunks

# exp of a larger pre-activation overflows when squared in float32. Dead latents lie below zero on
# recent tokens, so the cap acts only on a latent that is about to fire by itself.
MAX_EXPONENT = 40.0


@dataclass(frozen=True)
class StepError:
    """Input of the auxiliary losses; the error is a constant to them.

    `z` [token, d_model]: encoder input, b_dec subtracted. `error` [token, d_model]: target minus
    output, in the units of the loss. `loss`: the reconstruction loss (scalar). `n_tokens`: of the
    whole batch.
    """

    z: torch.Tensor
    error: torch.Tensor
    loss: torch.Tensor
    n_tokens: int


class Revival(ABC):
    """An auxiliary loss on dead latents."""

    def add(
        self, step: StepError, weights: Weights, grads: Weights, dead: torch.Tensor
    ) -> torch.Tensor:
        """Add gradients of the loss on the `dead` latents [row] to `grads`; return the loss."""
        rows = weights.rows(dead)
        row_grads = rows.zeros_like()
        loss, scale = self.row_loss(step, rows, row_grads)
        grads.add_rows_(dead, row_grads, scale)
        return loss * scale

    @abstractmethod
    def row_loss(
        self, step: StepError, rows: Weights, grads: Weights
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add the gradients of a loss on dead `rows` to `grads`; return it and a factor on both."""


@dataclass(frozen=True)
class AuxK(Revival):
    """coefficient · mean over tokens of ‖error − Σ of the k_aux strongest dead latents‖².

    ASSUME: the same reduction as the standard reconstruction loss (sum over d_model), and all
    dead latents while there are fewer than k_aux.
    """

    k: int
    coefficient: float
    workspace: Workspace

    def row_loss(
        self, step: StepError, rows: Weights, grads: Weights
    ) -> tuple[torch.Tensor, torch.Tensor]:
        few = len(rows.b_enc) <= self.k
        encoder = ReluEncoder(self.workspace) if few else TopKEncoder(self.k, self.workspace)
        factor = self.coefficient / step.n_tokens
        loss = step.loss.new_zeros(())
        for tokens, codes in encoder.encode(step.z, rows):
            miss = codes.decode(rows.W_dec) - step.error[tokens]
            loss += factor * miss.square().sum()
            codes.backward(grads, step.z[tokens], 2 * factor * miss, rows.W_dec, 0.0)
        return loss, torch.ones_like(loss)


@dataclass(frozen=True)
class GhostGrads(Revival):
    """Dead latents with exp in place of ReLU predict the error; the loss is scaled to the MSE.

    Every prediction is scaled (as a constant) to half the error's length. `prisma` divides each
    element by its own loss, as the paper's code does, so its gradient is a mean of gradients of
    logarithms; otherwise one factor for the batch makes the loss equal the reconstruction loss.
    ASSUME: without dead latents the loss is 0; the paper's code then logs a constant.
    """

    prisma: bool
    workspace: Workspace

    def row_loss(
        self, step: StepError, rows: Weights, grads: Weights
    ) -> tuple[torch.Tensor, torch.Tensor]:
        centred = step.error - step.error.mean(dim=0)
        spread = torch.linalg.vector_norm(centred, dim=1, keepdim=True)
        # An error equal to the batch mean (a last batch of one token) would divide by zero in the
        # paper's form and fill the weights with NaN; such a token counts for nothing.
        spread.masked_fill_(spread == 0, torch.inf)
        total = step.loss.new_zeros(())
        for tokens in chunks(step.z):
            ghosts = pre_activations(step.z[tokens], rows, self.workspace)
            ghosts.clamp_(max=MAX_EXPONENT).exp_()
            output, factor = self._scaled_output(ghosts @ rows.W_dec, step.error[tokens])
            miss = output - step.error[tokens]
            if self.prisma:
                d_output, loss = self._prisma(miss, spread[tokens], step)
            else:
                d_output, loss = 2 * miss, miss.square().sum()
            total += loss
            _ghost_backward(grads, step.z[tokens], ghosts, factor * d_output, rows.W_dec)
        return total, torch.ones_like(total) if self.prisma else step.loss / total

    @staticmethod
    def _scaled_output(
        output: torch.Tensor, error: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        length = torch.linalg.vector_norm(output, dim=1, keepdim=True)
        factor = torch.linalg.vector_norm(error, dim=1, keepdim=True) / (1e-6 + 2 * length)
        return output * factor, factor

    @staticmethod
    def _prisma(
        miss: torch.Tensor, spread: torch.Tensor, step: StepError
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return d(loss)/d(output) and the loss of one chunk of tokens."""
        ghost = miss.square() / spread
        rescale = step.loss / (ghost + 1e-6) / step.error.numel()
        return rescale * 2 * miss / spread, (rescale * ghost).sum()


def _ghost_backward(
    row_grads: Weights, z: torch.Tensor, ghosts: torch.Tensor, g: torch.Tensor, W_dec: torch.Tensor
) -> None:
    """Add the gradients through exp; `ghosts` [token, dead latent] is overwritten."""
    row_grads.W_dec.addmm_(ghosts.T, g)
    d_pre = ghosts.mul_(g @ W_dec.T)  # exp is its own derivative
    row_grads.W_enc_rows.addmm_(d_pre.T, z)
    row_grads.b_enc.add_(d_pre.sum(dim=0))


def make_revival(recipe: SaeRecipe, d_model: int, workspace: Workspace) -> Revival | None:
    """Return the remedy that a recipe names for its dead latents, None without one."""
    if recipe.aux_latents(d_model):
        return AuxK(recipe.aux_latents(d_model), recipe.aux_k_coefficient, workspace)
    if recipe.ghost_grads:
        return GhostGrads(recipe.form != "standard", workspace)
    return None
