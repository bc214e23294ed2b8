"""The largest pre-activations of a batch, found without ordering d_sae numbers per token.

Gao et al. 2024 (TopK), Bussmann et al. 2024 (BatchTopK). Latents are cut into groups. The k-th
largest group maximum is a lower bound of the k-th largest pre-activation, so only the few groups
that reach it are searched. Where a CPU multiplies bfloat16 fast, the pre-activations are first
computed in bfloat16 with a proven bound on their error; all that could be among the largest are
then computed again in float32. Both routes choose the same latents.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from clip_sae.training.codes import SparseCodes, entries_of_product
from clip_sae.training.weights import Weights
from clip_sae.training.workspace import Workspace

GROUP = 8  # latents of a group, at most: a group is one strided read per latent
GROUPS_PER_K = 4  # groups per wanted latent, at least, so that few of them share a group
BFLOAT16_UNIT = 2.0**-8  # largest relative error of rounding to bfloat16
# Below this many weights the float32 product costs less than rounding and computing again.
BFLOAT16_FROM = 2**20


@dataclass(frozen=True)
class GroupedScores:
    """Pre-activations [token, latent] of a chunk and, per (token, group), a bound on their error.

    `error` is None where the scores are exact; group g holds the latents g, g + n_groups, ….
    """

    values: torch.Tensor
    maxima: torch.Tensor
    error: torch.Tensor | None

    @property
    def n_groups(self) -> int:
        return self.maxima.shape[1]


class Selector:
    """Finds the candidates among pre-activations, chunk by chunk, all under the same weights."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._low: _LowPrecision | None = None

    def candidates(
        self, z: torch.Tensor, weights: Weights, k: int, *, pooled: bool = False
    ) -> SparseCodes:
        """Return, in full precision, at least all positive ones of the k largest of each token.

        `z` [token, d_model], b_dec subtracted. `pooled`: of the k x token largest of the chunk.
        """
        scores = self._scores(z, weights, k)
        row_start, columns, values = _above_cut(scores, k, pooled=pooled)
        if scores.error is not None:
            pattern = SparseCodes(row_start, columns, columns.to(z.dtype), scores.values.shape[1])
            values = entries_of_product(pattern, z, weights.W_enc_rows) + weights.b_enc[columns]
        return SparseCodes(row_start, columns, values, scores.values.shape[1])

    def _scores(self, z: torch.Tensor, weights: Weights, k: int) -> GroupedScores:
        d_sae = len(weights.b_enc)
        size = _group_size(d_sae, k)
        if not uses_bfloat16(z, weights):
            values = pre_activations(z, weights, self._workspace)
            return GroupedScores(values, _group_maxima(values, size), None)
        if self._low is None:
            self._low = _LowPrecision.of(weights, size, self._workspace)
        low = self._low
        z_low = z.bfloat16()
        values = self._workspace.get("low_pre_acts", len(z), d_sae, like=z_low)
        torch.addmm(low.b_enc, z_low, low.W_enc_rows.T, out=values)
        maxima = _group_maxima(values, size).float()
        return GroupedScores(values, maxima, low.error_bound(z, z_low, maxima))


@dataclass(frozen=True)
class _LowPrecision:
    """The encoder in bfloat16, and by group the largest norms that bound its error."""

    W_enc_rows: torch.Tensor
    b_enc: torch.Tensor
    norms: torch.Tensor  # [3, group]: of a latent's weights, of their rounding, of its bias

    @classmethod
    def of(cls, weights: Weights, size: int, workspace: Workspace) -> _LowPrecision:
        exact = weights.W_enc_rows
        like = exact.new_empty(0, dtype=torch.bfloat16)
        rounded = workspace.get("low_encoder", *exact.shape, like=like)
        norm, rounding = torch.empty_like(weights.b_enc), torch.empty_like(weights.b_enc)
        step = max(1, 2**20 // exact.shape[1])  # the compared rows stay in the cache
        for start in range(0, len(exact), step):
            part = slice(start, start + step)
            rounded[part] = exact[part]
            torch.linalg.vector_norm(exact[part], dim=1, out=norm[part])
            torch.linalg.vector_norm(exact[part] - rounded[part], dim=1, out=rounding[part])
        by_latent = torch.stack([norm, rounding, weights.b_enc.abs()])
        return cls(rounded, weights.b_enc.bfloat16(), by_latent.view(3, size, -1).amax(1))

    def error_bound(
        self, z: torch.Tensor, z_low: torch.Tensor, maxima: torch.Tensor
    ) -> torch.Tensor:
        """Return a bound on |bfloat16 - exact| for scores up to `maxima` [token, group].

        |z̃·w̃ - z·w| <= ‖z̃ - z‖‖w‖ + ‖z̃‖‖w̃ - w‖; then float32 sums of d_model terms, the
        rounding of the bias, and two roundings of the result.
        """
        z_norm = torch.linalg.vector_norm(z_low.float(), dim=1)
        z_rounding = torch.linalg.vector_norm(z - z_low, dim=1)
        z_rounding = z_rounding + z.shape[1] * 2.0**-23 * z_norm
        by_token = torch.stack([z_rounding, z_norm, torch.full_like(z_norm, BFLOAT16_UNIT)], dim=1)
        return (by_token @ self.norms).add_(maxima.abs(), alpha=2 * BFLOAT16_UNIT)


def keep_largest(codes: SparseCodes, k: int) -> SparseCodes:
    """Keep the k largest positive entries of each token; of equal ones the first."""
    n_tokens = len(codes.row_start) - 1
    counts = np.diff(codes.row_start.numpy())
    widest = int(counts.max(initial=0))
    values = codes.values.numpy()
    if widest <= k:
        return codes.where(codes.values > 0)
    token = np.repeat(np.arange(n_tokens), counts)
    position = np.arange(len(token)) - codes.row_start.numpy()[token]
    table = np.zeros((n_tokens, widest), values.dtype)
    table[token, position] = values
    kth = np.partition(table, widest - k, axis=1)[:, widest - k]
    kept = (values >= kth[token]) & (values > 0)
    for row in np.flatnonzero(np.bincount(token[kept], minlength=n_tokens) > k):
        entries = np.flatnonzero(kept & (token == row))
        order = np.argsort(-values[entries], kind="stable")
        kept[entries[order[k:]]] = False
    return codes.where(torch.from_numpy(kept))


def pre_activations(z: torch.Tensor, weights: Weights, workspace: Workspace) -> torch.Tensor:
    """Return z W_enc + b_enc [token, latent] in the workspace; overwritten by the next call."""
    out = workspace.get("pre_acts", len(z), len(weights.b_enc), like=z)
    return torch.addmm(weights.b_enc, z, weights.W_enc_rows.T, out=out)


def uses_bfloat16(z: torch.Tensor, weights: Weights) -> bool:
    """Return True if bfloat16 comes first: for large float32 SAEs on CPUs that are fast at it."""
    large = weights.W_enc_rows.numel() >= BFLOAT16_FROM
    return large and z.dtype == torch.float32 and z.device.type == "cpu" and fast_bfloat16()


@functools.cache
def fast_bfloat16() -> bool:
    """Return True if this CPU multiplies bfloat16 matrices in hardware, several times as fast."""
    if not (torch.backends.mkldnn.is_available() and torch.backends.mkl.is_available()):
        return False
    flags = Path("/proc/cpuinfo")
    return flags.exists() and "avx512_bf16" in flags.read_text()


def _group_size(d_sae: int, k: int) -> int:
    size = GROUP
    while size > 1 and (d_sae % size or d_sae // size < GROUPS_PER_K * k):
        size //= 2
    return size


def _group_maxima(values: torch.Tensor, size: int) -> torch.Tensor:
    return values.view(len(values), size, -1).amax(1) if size > 1 else values


def _above_cut(
    scores: GroupedScores, k: int, *, pooled: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return (row_start, columns, values) of all scores that may be among the largest."""
    n_tokens, n_groups = scores.maxima.shape
    lowest = scores.maxima if scores.error is None else scores.maxima - scores.error
    cut = _lower_bound(lowest, k, pooled=pooled)
    reach = scores.maxima if scores.error is None else scores.maxima + scores.error
    flat = np.flatnonzero(((reach >= cut) & (reach > 0)).numpy())
    token, group = np.divmod(flat, n_groups)
    token, group = torch.from_numpy(token), torch.from_numpy(group)
    inside = scores.values.view(n_tokens, -1, n_groups)[token, :, group]  # [hit, group member]
    floor = cut.expand(n_tokens, 1)[token]
    if scores.error is None:
        found = (inside >= floor) & (inside > 0)
    else:
        slack = scores.error.view(-1)[torch.from_numpy(flat)].unsqueeze(1)
        found = inside.float() + slack >= floor
    entry = torch.from_numpy(np.flatnonzero(found.numpy()))
    hit = entry // inside.shape[1]
    columns = (entry - hit * inside.shape[1]) * n_groups + group[hit]
    counts = torch.bincount(token[hit], minlength=n_tokens)
    row_start = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return row_start, columns, inside.reshape(-1)[entry]


def _lower_bound(lowest: torch.Tensor, k: int, *, pooled: bool) -> torch.Tensor:
    """Return a number that the k largest reach, at least 0: [token, 1], or [1, 1] if `pooled`.

    The k-th largest over groups; over groups of groups, which is little lower and much faster.
    """
    n_tokens, n_groups = lowest.shape
    while n_groups % 2 == 0 and n_groups // 2 >= 2 * GROUPS_PER_K * k:
        lowest = torch.maximum(lowest[:, : n_groups // 2], lowest[:, n_groups // 2 :])
        n_groups //= 2
    if k > n_groups:  # then everything positive may be among the k largest
        return lowest.new_zeros((1 if pooled else n_tokens, 1))
    values = lowest.numpy()
    if pooled:
        at = values.size - k * n_tokens
        cut = np.partition(values.reshape(-1), at)[at].reshape(1, 1)
    else:
        cut = np.partition(values, n_groups - k, axis=1)[:, n_groups - k, None]
    return torch.from_numpy(cut).clamp_min(0)
