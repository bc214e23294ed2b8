"""Memory of a training pass: scratch arrays, and chunks of a batch.

Not in the papers. New pages cost as much as a matrix product, so arrays are kept between steps; and
a batch is cut into chunks of tokens, so that no array of d_sae x batch is ever held.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

# Tokens per chunk on a CPU: pre-activations of a chunk stay in cache for small SAEs and take
# 200 MB at d_sae 49,152. An accelerator takes the batch whole.
CHUNK_TOKENS = 1024


def chunks(z: torch.Tensor) -> Iterator[slice]:
    """Yield slices over the tokens of z, in order."""
    step = CHUNK_TOKENS if z.device.type == "cpu" else max(1, len(z))
    for start in range(0, len(z), step):
        yield slice(start, min(start + step, len(z)))


class Workspace:
    """Scratch arrays kept between steps, shared by all SAEs of a pass, which step in turn."""

    def __init__(self) -> None:
        self._arrays: dict[str, torch.Tensor] = {}

    def get(self, name: str, rows: int, columns: int, like: torch.Tensor) -> torch.Tensor:
        """Return an uninitialised [rows, columns] array of `like`'s dtype and device."""
        array = self._arrays.get(name)
        if array is None or array.numel() < rows * columns or array.dtype != like.dtype:
            array = like.new_empty(rows * columns)
            self._arrays[name] = array
        return array[: rows * columns].view(rows, columns)
