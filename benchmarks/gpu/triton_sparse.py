"""Drafts of Triton kernels for a TopK step: gathered dots, gathered sums, and both gradients.

No atomics: one program sums a latent's row in the order of its tokens, so two runs give the same
bits. `errors` compares them with clip_sae's own codes; with TRITON_INTERPRET=1 that works on a CPU.
Import this module only where Triton is installed.
"""

import torch
import triton
import triton.language as tl

from clip_sae.training.codes import SparseCodes, entries_of_product
from clip_sae.training.learner import remove_parallel_
from clip_sae.training.weights import Weights

# In the kernels: D is d_model, K entries a token, BD and BK how many of each a program takes at
# once. Pointers are to row-major arrays; `cols` [token, k] are latents.


@triton.jit
def _gather_dot(
    z, rows, cols, out, D: tl.constexpr, K: tl.constexpr, BD: tl.constexpr, BK: tl.constexpr
):
    token = tl.program_id(0)
    entry = tl.program_id(1) * BK + tl.arange(0, BK)
    inside = entry < K
    latent = tl.load(cols + token * K + entry, mask=inside, other=0).to(tl.int64)
    total = tl.zeros((BK,), tl.float32)
    for first in range(0, D, BD):
        d = first + tl.arange(0, BD)
        known = d < D
        x = tl.load(z + token * D + d, mask=known, other=0.0).to(tl.float32)
        both = inside[:, None] & known[None, :]
        row = tl.load(rows + latent[:, None] * D + d[None, :], mask=both, other=0.0).to(tl.float32)
        total += tl.sum(row * x[None, :], 1)
    tl.store(out + token * K + entry, total, mask=inside)


@triton.jit
def _gather_sum(values, rows, cols, bias, out, D: tl.constexpr, K: tl.constexpr, BD: tl.constexpr):
    token = tl.program_id(0)
    d = tl.program_id(1) * BD + tl.arange(0, BD)
    known = d < D
    total = tl.load(bias + d, mask=known, other=0.0).to(tl.float32)
    for entry in range(K):
        latent = tl.load(cols + token * K + entry).to(tl.int64)
        value = tl.load(values + token * K + entry).to(tl.float32)
        total += value * tl.load(rows + latent * D + d, mask=known, other=0.0).to(tl.float32)
    tl.store(out + token * D + d, total, mask=known)


@triton.jit
def _both_gradients(
    start,
    order,
    values,
    d_values,
    g,
    z,
    W_dec,
    dW_dec,
    dW_enc,
    db_enc,
    sums,
    D: tl.constexpr,
    K: tl.constexpr,
    BD: tl.constexpr,
    UNIT: tl.constexpr,
):
    """Sum one latent's entries; with UNIT leave out the part parallel to its decoder row."""
    latent = tl.program_id(0)
    d = tl.arange(0, BD)
    known = d < D
    decoder = tl.zeros((BD,), tl.float32)
    encoder = tl.zeros((BD,), tl.float32)
    bias = 0.0
    total = 0.0
    for i in range(tl.load(start + latent), tl.load(start + latent + 1)):
        entry = tl.load(order + i)
        token = (entry // K).to(tl.int64)
        value = tl.load(values + entry)
        d_value = tl.load(d_values + entry)
        decoder += value * tl.load(g + token * D + d, mask=known, other=0.0).to(tl.float32)
        encoder += d_value * tl.load(z + token * D + d, mask=known, other=0.0).to(tl.float32)
        bias += d_value
        total += value
    at = latent.to(tl.int64) * D + d
    if UNIT:
        row = tl.load(W_dec + at, mask=known, other=0.0)
        decoder -= row * tl.sum(decoder * row, 0)
    tl.store(dW_dec + at, decoder, mask=known)
    tl.store(dW_enc + at, encoder, mask=known)
    tl.store(db_enc + latent, bias)
    tl.store(sums + latent, total)


def gather_dot(z: torch.Tensor, rows: torch.Tensor, cols: torch.Tensor) -> torch.Tensor:
    """Return [token, k], the dots of z [token, d] and rows[cols], rows [latent, d]."""
    (n_tokens, d), k = z.shape, cols.shape[1]
    out = torch.empty(n_tokens, k, dtype=torch.float32, device=z.device)
    block_d = min(256, triton.next_power_of_2(d))
    block_k = min(16, triton.next_power_of_2(k))
    grid = (n_tokens, triton.cdiv(k, block_k))
    _gather_dot[grid](z, rows, cols, out, d, k, block_d, block_k, num_warps=4)
    return out


def gather_sum(
    values: torch.Tensor, rows: torch.Tensor, cols: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    """Return [token, d], the bias [d] plus Σ over k of values [token, k] · rows[cols]."""
    (n_tokens, k), d = values.shape, rows.shape[1]
    out = torch.empty(n_tokens, d, dtype=torch.float32, device=rows.device)
    block_d = min(256, triton.next_power_of_2(d))
    grid = (n_tokens, triton.cdiv(d, block_d))
    _gather_sum[grid](values, rows, cols, bias, out, d, k, block_d, num_warps=2)
    return out


def both_gradients(
    values: torch.Tensor,
    d_values: torch.Tensor,
    cols: torch.Tensor,
    g: torch.Tensor,
    z: torch.Tensor,
    W_dec: torch.Tensor,
    unit: bool = True,
) -> tuple[torch.Tensor, ...]:
    """Return dW_dec, dW_enc_rows [latent, d], db_enc and Σ values [latent] of one step.

    `values`, `d_values`, `cols` are [token, k]; `g`, `z` [token, d]. Every row is written, so the
    caller zeroes nothing.
    """
    k, (n_latents, d) = cols.shape[1], W_dec.shape
    by_latent = torch.sort(cols.reshape(-1).to(torch.int32), stable=True)
    latents = torch.arange(n_latents + 1, device=g.device, dtype=torch.int32)
    start = torch.searchsorted(by_latent.values, latents).to(torch.int32)
    order = by_latent.indices.to(torch.int32)
    matrices = [torch.empty(n_latents, d, device=g.device) for _ in range(2)]
    vectors = [torch.empty(n_latents, device=g.device) for _ in range(2)]
    arrays = (start, order, values, d_values, g, z, W_dec, *matrices, *vectors)
    block_d = triton.next_power_of_2(d)
    _both_gradients[(n_latents,)](*arrays, d, k, block_d, unit, num_warps=4)
    return (*matrices, *vectors)


def errors(device: str, n_tokens: int = 64, n: int = 512, d: int = 96, k: int = 8) -> dict:
    """Return the relative error of each result against clip_sae's own step."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).to(device)

    columns = [torch.randperm(n, generator=generator)[:k] for _ in range(n_tokens)]
    cols = torch.stack(columns).to(device)
    rows = torch.nn.functional.normalize(normal(n, d), dim=1)
    g, z, bias, values = normal(n_tokens, d), normal(n_tokens, d), normal(d), normal(n_tokens, k)
    values = values.relu()
    start = torch.arange(0, n_tokens * k + 1, k, device=device)
    codes = SparseCodes(start, cols.reshape(-1), values.reshape(-1), n)
    grads = Weights(rows, bias.new_zeros(n), rows, bias).zeros_like()
    codes.backward(grads, z, g, rows, 0.0)
    remove_parallel_(grads.W_dec, rows)
    d_values = gather_dot(g, rows, cols) * (values > 0)
    dW_dec, dW_enc, db_enc, sums = both_gradients(values, d_values, cols, g, z, rows)
    expected_d = entries_of_product(codes, g, rows).view(n_tokens, k) * (values > 0)
    pairs = {
        "gather_dot": (d_values, expected_d),
        "gather_sum": (gather_sum(values, rows, cols, bias), codes.decode(rows) + bias),
        "dW_dec": (dW_dec, grads.W_dec),
        "dW_enc": (dW_enc, grads.W_enc_rows),
        "db_enc": (db_enc, grads.b_enc),
        "sums": (sums, codes.sums()),
    }
    return {name: float((a - b).norm() / b.norm()) for name, (a, b) in pairs.items()}
