"""Small stand-ins: a store in memory, a CLIP whose later blocks are one mixing layer."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_clip import tiny_source

from clip_sae.clip.model import load_clip
from clip_sae.sae import Sae


class MemoryStore:
    """Reads like ActivationStore, from an array [image, token, d_model]."""

    def __init__(self, x, source_index=None, path="memory"):
        self.x, self.path = np.asarray(x, dtype=np.float32), Path(path)
        self.n_images, self.n_tokens, self.d_model = self.x.shape
        self.n_patches = self.n_tokens - 1
        images = np.arange(self.n_images) if source_index is None else source_index
        self.source_index = np.asarray(images, dtype=np.int64)

    def read(self, start, stop, tokens="all", out=None):
        part = {"all": slice(None), "cls": slice(0, 1), "patch": slice(1, None)}[tokens]
        return self.x[start:stop, part].copy()


class SmallClip:
    """Block l + 1 adds the tokens' mean to each token; the last layer's CLS is projected."""

    device = torch.device("cpu")
    logit_scale = 20.0
    n_layers = 3

    def __init__(self, d_model, d_embed, seed=0):
        generator = torch.Generator().manual_seed(seed)
        self.proj = torch.randn(d_model, d_embed, generator=generator)
        self.bias = torch.randn(d_embed, generator=generator)

    def run_from(self, resid_post, layer):
        for _ in range(layer + 1, self.n_layers):
            resid_post = resid_post + torch.tanh(resid_post.mean(1, keepdim=True))
        return resid_post[:, 0] @ self.proj + self.bias


def random_sae(d_model=6, d_sae=16, seed=0, **options):
    generator = torch.Generator().manual_seed(seed)
    sae = Sae(d_model, d_sae, options.pop("architecture", "vanilla"), **options)
    rows = torch.randn(d_sae, d_model, generator=generator)
    sae.W_dec.copy_(rows / rows.norm(dim=1, keepdim=True))
    sae.W_enc.copy_(sae.W_dec.T * 0.8)
    sae.b_enc.copy_(0.3 * torch.randn(d_sae, generator=generator) - 0.4)
    sae.b_enc[:2] = -100.0  # two latents never fire
    sae.b_dec.copy_(0.1 * torch.randn(d_model, generator=generator))
    return sae


@pytest.fixture
def x():
    rng = np.random.default_rng(0)
    return rng.normal(size=(11, 10, 6)).astype(np.float32) * rng.gamma(3, 0.5, size=(11, 10, 1))


@pytest.fixture
def store(x):
    return MemoryStore(x)


@pytest.fixture
def sae():
    return random_sae()


@pytest.fixture
def make_sae():
    return random_sae


@pytest.fixture
def make_store():
    return MemoryStore


@pytest.fixture
def make_clip():
    return SmallClip


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A real tower of three blocks with random weights."""
    return load_clip(tiny_source(tmp_path_factory.mktemp("tiny")), device="cpu")
