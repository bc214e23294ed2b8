"""Several processes that train one SAE together, each on its share of every batch.

Not in the papers. All see the same tokens and hold the same weights; gradients and sums over tokens
are added up. A single process is a group of one, for which nothing is done.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed


@dataclass(frozen=True)
class Replicas:
    """This process among those that share a training; alone by default."""

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> Replicas:
        """Return this process in torch's default process group, or alone."""
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return cls()
        return cls(torch.distributed.get_rank(), torch.distributed.get_world_size())

    def share(self, n_tokens: int) -> slice:
        """Return the tokens of a batch for this process; shares differ by one token at most."""
        return slice(n_tokens * self.rank // self.size, n_tokens * (self.rank + 1) // self.size)

    def sum_(self, tensor: torch.Tensor) -> None:
        """Replace a tensor by its sum over all processes."""
        if self.size > 1:
            torch.distributed.all_reduce(tensor)

    def concatenate(self, values: torch.Tensor) -> torch.Tensor:
        """Return the values [entry] of all processes, of any number each, in order of rank."""
        if self.size == 1:
            return values
        counts = torch.zeros(self.size, dtype=torch.int64, device=values.device)
        counts[self.rank] = len(values)
        torch.distributed.all_reduce(counts)
        starts = [0, *counts.cumsum(0).tolist()]
        together = values.new_zeros(starts[-1])
        together[starts[self.rank] : starts[self.rank + 1]] = values
        torch.distributed.all_reduce(together)
        return together

    def wait(self) -> None:
        """Wait until all processes have called this."""
        if self.size > 1:
            torch.distributed.barrier()

    def check_same(self, tensor: torch.Tensor) -> None:
        """Raise RuntimeError unless all processes hold the same values."""
        if self.size == 1:
            return
        first = tensor.clone()
        torch.distributed.broadcast(first, src=0)
        if not torch.equal(first, tensor):
            raise RuntimeError(
                "the processes of this training have drifted apart; nothing was saved after the "
                "last checkpoint. Run it in one process, and report this."
            )
