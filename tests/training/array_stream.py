"""A small in-memory stream with TokenStream's interface."""

import numpy as np


class ArrayStream:
    """Shuffled batches of x [token, d_model]; order is a function of (seed, epoch)."""

    def __init__(self, x: np.ndarray, batch: int, seed: int = 0, fail_at: int | None = None):
        self.x, self.batch, self.seed = x, batch, seed
        self.n_batches = -(-len(x) // batch)
        self.fail_at, self.served = fail_at, 0

    def epoch(self, epoch: int, start_batch: int = 0):
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.x))
        for index in range(start_batch, self.n_batches):
            if self.fail_at is not None and self.served >= self.fail_at:
                raise KeyboardInterrupt
            self.served += 1
            yield self.x[order[index * self.batch : (index + 1) * self.batch]]
