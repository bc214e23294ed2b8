"""A small in-memory stream with TokenStream's interface, and tokens with a planted dictionary."""

import numpy as np
import pytest
import torch


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


@pytest.fixture
def array_stream():
    return ArrayStream


@pytest.fixture
def planted():
    """Return (tokens, directions) for n tokens that are sparse sums of unit directions."""

    def make(n_tokens=4000, d_model=16, n_directions=24, active=2, seed=0, noise=0.02):
        rng = np.random.default_rng(seed)
        directions = rng.normal(size=(n_directions, d_model))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        chosen = np.argsort(rng.random((n_tokens, n_directions)), axis=1)[:, :active]
        x = np.zeros((n_tokens, d_model))
        for column in range(active):
            x += rng.uniform(2, 4, size=(n_tokens, 1)) * directions[chosen[:, column]]
        x += noise * rng.normal(size=x.shape)
        return x.astype(np.float32), directions

    return make


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
