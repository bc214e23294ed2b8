"""Sizes and bounds of a layout, compared with plain arithmetic."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_sae.store import StoreLayout


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 300), st.integers(1, 9), st.integers(1, 9))
def test_ranges_cover_every_image_once(n_images, chunk_images, chunks_per_shard):
    layout = StoreLayout(
        n_images, 2, 3, chunk_images=chunk_images, chunks_per_shard=chunks_per_shard
    )
    covered = [i for k in range(layout.n_ranges) for i in range(*layout.range_bounds(k))]
    assert covered == [*range(n_images)]
    assert [i for chunk in layout.chunks() for i in range(*chunk)] == covered
    for array in layout.arrays.values():
        assert sum(array.shard_chunks(k) for k in range(layout.n_ranges)) == array.n_chunks


@pytest.mark.parametrize("n_images", [1, 7, 64, 1_000, 12_000, 1_281_167])
@pytest.mark.parametrize("shape", [(49, 128), (49, 768), (256, 1024)])
def test_choose_gives_enough_shards_of_bounded_chunks(n_images, shape):
    layout = StoreLayout.choose(n_images, *shape)
    assert layout.n_ranges >= min(8, n_images)
    assert layout.arrays["patch"].chunk_bytes <= 5e6
    assert layout.chunks_per_shard <= 64


def test_choose_for_the_demo_and_for_imagenet():
    demo = StoreLayout.choose(12_000, 49, 128)
    assert (demo.chunk_images, demo.chunks_per_shard, demo.n_ranges) == (256, 4, 12)
    assert demo.range_bounds(11) == (11_264, 12_000)  # a partial last shard
    paper = StoreLayout.choose(1_281_167, 49, 768)
    assert (paper.chunk_images, paper.chunks_per_shard) == (64, 64)
    assert paper.nbytes == pytest.approx(98.4e9, rel=1e-3)


def test_messages_say_what_to_write():
    with pytest.raises(ValueError, match=r"dtype 'float64' is not known.*'bfloat16'"):
        StoreLayout(4, 3, 2, dtype="float64")
    with pytest.raises(ValueError, match="n_images of a store is 0; it must be an int >= 1"):
        StoreLayout(0, 3, 2)
    with pytest.raises(ValueError, match="range 9 is not in the store; it has ranges 0 to 0"):
        StoreLayout(4, 3, 2).range_bounds(9)


def test_sizes_ignore_nothing():
    layout = StoreLayout(5, 3, 4, chunk_images=2, chunks_per_shard=2, n_prompts=2)
    itemsize = np.dtype("float16").itemsize
    rows = {"patch": 12 * itemsize, "cls": 4 * itemsize, "prompt": 8 * itemsize}
    chunks = [2, 1]
    expected = sum(n * (2 * row + 4) + 2 * 16 + 4 for row in rows.values() for n in chunks)
    assert replace(layout, version=1).nbytes == expected
    expected = sum(n * 64 + 2 * 16 + 4 for row in rows.values() for n in chunks)  # 52, 20, 36
    assert layout.nbytes == expected
