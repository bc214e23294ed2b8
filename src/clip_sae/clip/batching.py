"""Halve batches that do not fit in memory, so that one batch size works on small devices too."""

from collections.abc import Callable

import torch


class SmallerBatches:
    """Runs a function on batches; after an out-of-memory error, on halves from then on.

    `limit` is the largest number of rows to try; None while every batch has fitted.
    """

    def __init__(self) -> None:
        self.limit: int | None = None

    def __call__(self, fn: Callable, batch: torch.Tensor):
        """Return `fn(batch)`, joined along the first axis if it had to run in pieces.

        `fn` maps [row, …] to a tensor [row, …] or a dictionary of such tensors. Raises the
        out-of-memory error when a single row does not fit.
        """
        while True:
            size = min(self.limit or len(batch), len(batch))
            try:
                return _join([fn(piece) for piece in batch.split(size)] if size else [fn(batch)])
            except RuntimeError as error:
                if not _is_out_of_memory(error) or size <= 1:
                    raise
            # Outside the handler: the traceback would keep the failed pass's tensors alive.
            self.limit = size // 2
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


def _is_out_of_memory(error: RuntimeError) -> bool:
    # On the CPU torch raises a plain RuntimeError, known by its text only.
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _join(pieces: list):
    if len(pieces) == 1:
        return pieces[0]
    if isinstance(pieces[0], dict):
        return {key: torch.cat([piece[key] for piece in pieces]) for key in pieces[0]}
    return torch.cat(pieces)
