"""Sizes: the same bytes as files on disk, the same tokens as a training sees."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_sae.planning.architecture import Architecture, ModelSource, architecture
from clip_sae.planning.recipes import SaeRecipe
from clip_sae.scale.sizes import (
    sae_bytes,
    store_bytes,
    training_tokens,
)
from clip_sae.store import StoreLayout, StoreWriter

SECTION = {"dtype": "float16", "chunk_mb": 0.002, "min_shards": 4, "compression": "none"}
TINY = Architecture(2, 8, 8, 32, 16, 4, 2)
VIT_B_32 = architecture(ModelSource("ViT-B-32", "random:0"))


@settings(max_examples=15, deadline=None)
@given(n_images=st.integers(1, 70), dtype=st.sampled_from(["float16", "float32"]))
def test_bytes_are_those_of_the_shards_of_a_written_store(tmp_path_factory, n_images, dtype):
    path = tmp_path_factory.mktemp("store") / "s"
    block = SECTION | {"dtype": dtype}
    layout = StoreLayout.choose(n_images, 4, 8, dtype, chunk_mb=0.002, min_shards=4)
    writer = StoreWriter(path, layout, spec={}, source_index=np.arange(n_images))
    for k in range(layout.n_ranges):
        start, stop = layout.range_bounds(k)
        tokens = np.ones((stop - start, 5, 8), np.float32)
        with writer.range(k) as out:
            out.put(tokens[:, 0], tokens[:, 1:])
    writer.complete()
    shards = [f for name in ("patch", "cls") for f in (path / "acts.zarr" / name / "c").rglob("*")]
    on_disk = sum(f.stat().st_size for f in shards if f.is_file())
    assert store_bytes(n_images, TINY, block) == on_disk


def test_an_imagenet_layer_of_vit_b_32_is_98_gb():
    block = SECTION | {"chunk_mb": 5.0, "min_shards": 8}
    assert store_bytes(1_281_167, VIT_B_32, block) == pytest.approx(98.4e9, rel=1e-3)
    assert store_bytes(0, VIT_B_32, block) == 0


def recipe(**values) -> SaeRecipe:
    section = {"architecture": "topk", "k": 4, "expansion_factor": 4, **values}
    [(_, found)] = SaeRecipe.from_config("r", section)
    return found


@settings(deadline=None)
@given(
    n_images=st.integers(1, 300),
    batch=st.integers(1, 64),
    epochs=st.sampled_from([0.3, 1, 1.5, 2]),
    tokens=st.sampled_from(["all", "cls", "patch"]),
)
def test_tokens_are_those_that_the_stream_serves(n_images, batch, epochs, tokens):
    chosen = recipe(batch_tokens=batch, epochs=epochs, tokens=tokens)
    a_pass = n_images * {"all": 5, "cls": 1, "patch": 4}[tokens]
    sizes = [min(batch, a_pass - start) for start in range(0, a_pass, batch)]
    steps = chosen.total_steps(len(sizes))
    served = sum(sizes[step % len(sizes)] for step in range(steps))
    assert training_tokens(chosen, n_images, TINY) == served


def test_sae_bytes_are_those_of_its_weights(tmp_path):
    from safetensors.numpy import save_file

    shapes = {"W_enc": (8, 32), "W_dec": (32, 8), "b_enc": (32,), "b_dec": (8,)}
    weights = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    save_file(weights, tmp_path / "w.safetensors")
    header = (tmp_path / "w.safetensors").stat().st_size - sae_bytes(recipe(), TINY)
    assert 0 < header < 400
