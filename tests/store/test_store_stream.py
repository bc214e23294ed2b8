"""The stream: every token once, in an order that depends on seed and epoch alone."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_samples import write_store

from clip_sae.store import ActivationStore, StoreDamaged, StoreError, StoreLayout, TokenStream


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    layout = StoreLayout(53, 3, 4, chunk_images=4, chunks_per_shard=3)
    return write_store(tmp_path_factory.mktemp("stream") / "store", layout)


def stream_of(made, **options):
    return TokenStream(ActivationStore(made.path), **{"batch_tokens": 10, "seed": 1} | options)


@settings(deadline=None, max_examples=25)
@given(
    batch_tokens=st.integers(1, 300),
    buffer_images=st.sampled_from([0, 1, 5, 16, 40]),
    tokens=st.sampled_from(["all", "cls", "patch"]),
    epoch=st.integers(0, 3),
    drop_last=st.booleans(),
    prefetch=st.booleans(),
)
def test_exactly_once_and_equal_to_a_plain_lookup(
    made, batch_tokens, buffer_images, tokens, epoch, drop_last, prefetch
):
    batch_tokens = min(batch_tokens, 50)
    options = dict(batch_tokens=batch_tokens, buffer_images=buffer_images, tokens=tokens)
    stream = stream_of(made, drop_last=drop_last, prefetch=prefetch, **options)
    batches, places = [*stream.epoch(epoch)], [*stream.indices(epoch)]
    assert len(batches) == len(places) == stream.n_batches
    for batch, (image_rows, token) in zip(batches, places, strict=True):
        assert batch.dtype == np.float32 and batch.flags.c_contiguous
        np.testing.assert_array_equal(batch, made.tokens[image_rows, token])
    seen = [pair for image_rows, token in places for pair in zip(image_rows, token, strict=True)]
    wanted = {"all": range(4), "cls": [0], "patch": [1, 2, 3]}[tokens]
    everything = {(i, t) for i in range(53) for t in wanted}
    assert len(seen) == len({*seen}) and {*seen} <= everything
    left = len(everything) % batch_tokens if drop_last else 0
    assert len(seen) == len(everything) - left


@pytest.mark.parametrize("buffer_images", [0, 4, 12])
@pytest.mark.parametrize("prefetch", [True, False])
def test_resuming_at_any_batch_is_the_tail_of_the_epoch(made, buffer_images, prefetch):
    whole = [*stream_of(made, buffer_images=buffer_images).epoch(2)]
    stream = stream_of(made, buffer_images=buffer_images, prefetch=prefetch)
    for start in range(0, stream.n_batches + 1, 3):
        tail = [*stream.epoch(2, start)]
        assert len(tail) == len(whole) - start
        for a, b in zip(tail, whole[start:], strict=True):
            np.testing.assert_array_equal(a, b)


def test_order_depends_on_seed_and_epoch_only(made):
    def first(**options):
        epoch = options.pop("epoch", 0)
        return np.concatenate([*stream_of(made, **options).epoch(epoch)])

    same = first()
    np.testing.assert_array_equal(first(prefetch=False), same)
    np.testing.assert_array_equal(first(batch_tokens=17), same)  # batches only divide the order
    for other in (first(seed=2), first(epoch=1), first(buffer_images=8)):
        assert not np.array_equal(other, same)


def test_the_order_is_pinned():
    """Trained SAEs depend on the order: a change needs a new stage version and new numbers here."""
    from clip_sae.store.shuffle import ShufflePlan

    layout = StoreLayout(12, 3, 4, chunk_images=2, chunks_per_shard=3)
    plan = ShufflePlan(layout, 1, 3, buffer_images=4, seed=3)
    windows = plan.windows(1)
    assert [w.chunks[:, 0].tolist() for w in windows] == PINNED_CHUNKS
    assert plan.order(1, windows[0])[:8].tolist() == PINNED_ORDER


PINNED_CHUNKS = [[4, 0], [2, 10], [6, 8]]
PINNED_ORDER = [9, 13, 10, 5, 11, 12, 7, 6]


def test_bfloat16_and_float32_streams(tmp_path):
    for dtype in ("bfloat16", "float32"):
        layout = StoreLayout(9, 3, 4, dtype=dtype, chunk_images=2, chunks_per_shard=2)
        made = write_store(tmp_path / dtype, layout)
        for buffer_images in (0, 2):
            stream = stream_of(made, buffer_images=buffer_images)
            batches, places = [*stream.epoch(0)], [*stream.indices(0)]
            for batch, (rows, token) in zip(batches, places, strict=True):
                np.testing.assert_array_equal(batch, made.tokens[rows, token])


def test_batches_are_the_callers_to_keep(made):
    """Any number of batches is kept, by any view; dropped ones are reused."""
    for prefetch in (True, False):
        stream = stream_of(made, prefetch=prefetch)
        kept = [batch[1:, ::2] for batch in stream.epoch(0)]
        copies = [batch[1:, ::2].copy() for batch in stream.epoch(0)]
        for a, b in zip(kept, copies, strict=True):
            np.testing.assert_array_equal(a, b)
    places = {id(batch.base) for batch in stream.epoch(0)}
    assert len(places) <= 2


def test_windows_mix_images_of_distant_blocks(made):
    rows, _ = next(stream_of(made, batch_tokens=64, buffer_images=16).indices(0))
    assert len({*(rows // 4).tolist()}) == 4  # all four chunks of the window


def test_leaving_early_ends_the_thread(made):
    before = threading.active_count()
    batches = stream_of(made, batch_tokens=1).epoch(0)
    next(batches)
    batches.close()
    assert threading.active_count() == before


@pytest.mark.parametrize("prefetch", [True, False])
def test_damage_reaches_the_caller(tmp_path, prefetch):
    made = write_store(tmp_path / "store")
    shard = made.path / "acts.zarr" / "patch" / "c" / "1" / "0" / "0"
    shard.write_bytes(b"\0" * len(shard.read_bytes()))
    with pytest.raises(StoreDamaged, match="damaged chunk index"):
        list(stream_of(made, prefetch=prefetch).epoch(0))


def test_messages(made):
    with pytest.raises(StoreError, match=r"batch_tokens >= 1.* got 0, 1 and 0"):
        stream_of(made, batch_tokens=0)
    with pytest.raises(StoreError, match="serves 'all', 'cls' or 'patch', not 'prompt'"):
        stream_of(made, tokens="prompt")
    with pytest.raises(StoreError, match=r"53 tokens \(cls\); a batch of 54 is never full"):
        stream_of(made, tokens="cls", batch_tokens=54, drop_last=True)
    with pytest.raises(StoreError, match="batch 23 of epoch 0 .* batches 0 to 21"):
        stream_of(made).epoch(0, 23)
