"""Cutting a batch into blocks of tokens, so that nothing of d_sae x batch is ever held."""

from __future__ import annotations

from collections.abc import Iterator

import torch

# Tokens per block on a CPU: pre-activations of a block stay in cache for small SAEs and take
# 200 MB at d_sae 49,152. An accelerator takes the batch whole.
BLOCK_TOKENS = 1024


def blocks(z: torch.Tensor) -> Iterator[slice]:
    """Yield slices over the tokens of z, in order."""
    step = BLOCK_TOKENS if z.device.type == "cpu" else max(1, len(z))
    for start in range(0, len(z), step):
        yield slice(start, min(start + step, len(z)))
