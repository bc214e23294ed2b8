"""Tokens with a planted dictionary, and one thread for every test."""

import numpy as np
import pytest
import torch
from array_stream import ArrayStream


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
