"""The stream depends on seed and epoch alone, for any threads, windows and resuming."""

import os
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_samples import write_store

from clip_sae.store import ActivationStore, StoreDamaged, StoreError, StoreLayout, TokenStream
from clip_sae.store.shuffle import ShufflePlan


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Stores with several layouts, made once; hypothesis chooses among them."""
    folder = tmp_path_factory.mktemp("feeding")
    cuttings = [(1, 1, 1), (7, 3, 2), (24, 4, 3), (37, 1, 8), (53, 5, 2)]
    return [
        write_store(folder / str(n), StoreLayout(n, 3, 4, chunk_images=c, chunks_per_shard=s))
        for n, c, s in cuttings
    ]


@settings(deadline=None, max_examples=60)
@given(
    which=st.integers(0, 4),
    batch_tokens=st.integers(1, 90),
    buffer_images=st.integers(0, 60),
    tokens=st.sampled_from(["all", "cls", "patch"]),
    seed=st.integers(0, 2**40),
    epoch=st.integers(0, 1000),
    threads=st.integers(1, 4),
    prefetch=st.booleans(),
    data=st.data(),
)
def test_once_each_and_a_function_of_seed_and_epoch(
    stores, which, batch_tokens, buffer_images, tokens, seed, epoch, threads, prefetch, data
):
    made = stores[which]

    def stream(**options):
        settings = dict(batch_tokens=batch_tokens, buffer_images=buffer_images, tokens=tokens)
        return TokenStream(ActivationStore(made.path), seed=seed, **settings, **options)

    one = stream(threads=threads, prefetch=prefetch)
    batches, places = [*one.epoch(epoch)], [*one.indices(epoch)]
    assert len(batches) == len(places) == one.n_batches
    for batch, (rows, token) in zip(batches, places, strict=True):
        np.testing.assert_array_equal(batch, made.tokens[rows, token])
    rows, token = (np.concatenate(column) for column in zip(*places, strict=True))
    seen = {*zip(rows.tolist(), token.tolist(), strict=True)}
    wanted = {"all": range(4), "cls": [0], "patch": [1, 2, 3]}[tokens]
    assert len(seen) == len(rows) == made.layout.n_images * len(wanted)
    assert {*token.tolist()} == {*wanted}
    start = data.draw(st.integers(0, one.n_batches))
    other = stream(threads=data.draw(st.integers(1, 4)), prefetch=False)
    tail = [*other.epoch(epoch, start)]
    assert len(tail) == len(batches) - start
    for a, b in zip(tail, batches[start:], strict=True):
        np.testing.assert_array_equal(a, b)


def stream_of(made, **options):
    return TokenStream(ActivationStore(made.path), **{"batch_tokens": 10, "seed": 1} | options)


def test_raw_batches_are_the_stored_bits(tmp_path):
    for dtype, disk in [("float16", "float16"), ("bfloat16", "uint16"), ("float32", "float32")]:
        layout = StoreLayout(9, 3, 4, dtype=dtype, chunk_images=2, chunks_per_shard=2)
        made = write_store(tmp_path / dtype, layout)
        stored = ActivationStore(made.path).read(0, 9)
        stream = stream_of(made, raw=True, buffer_images=4)
        assert stream.dtype == disk
        for batch, (rows, token) in zip(stream.epoch(0), stream.indices(0), strict=True):
            assert batch.dtype == disk
            np.testing.assert_array_equal(batch, stored[rows, token])


@pytest.mark.parametrize("raw", [True, False])
def test_batches_lie_in_the_callers_memory_which_is_used_again(stores, raw):
    memories = []

    def allocate(shape, dtype):
        memories.append(bytearray(int(np.prod(shape)) * np.dtype(dtype).itemsize))
        return np.frombuffer(memories[-1], dtype).reshape(shape)

    stream = stream_of(stores[4], allocate=allocate, raw=raw)
    kept = [(batch, batch.copy()) for batch in stream.epoch(0)]
    assert len(memories) == len(kept) > 7
    assert all(np.array_equal(batch, copy) for batch, copy in kept)
    memories.clear()
    del kept
    for _ in stream.epoch(0):
        pass
    assert len(memories) <= 6  # dropped ones are reused


@pytest.mark.parametrize("tokens", ["all", "cls", "patch"])
@pytest.mark.parametrize("threads", [1, 3])
def test_only_the_bytes_of_the_tokens_are_read_and_once(stores, monkeypatch, tokens, threads):
    made = stores[2]
    counted, lock, real = [0], threading.Lock(), os.preadv

    def preadv(descriptor, buffers, offset):
        n = real(descriptor, buffers, offset)
        with lock:
            counted[0] += n
        return n

    monkeypatch.setattr(os, "preadv", preadv)
    stream = stream_of(made, tokens=tokens, threads=threads, buffer_images=8)
    for _ in stream.epoch(0):
        pass
    names = {"all": ["cls", "patch"], "cls": ["cls"], "patch": ["patch"]}[tokens]
    arrays = [made.layout.arrays[name] for name in names]
    files = sum(a.shard_nbytes(k) for a in arrays for k in range(made.layout.n_ranges))
    assert counted[0] == files  # chunks, checksums, and the index of each file, each once


def test_indices_hold_one_window_at_a_time(monkeypatch, stores):
    asked = []
    real = ShufflePlan.order
    monkeypatch.setattr(
        ShufflePlan, "order", lambda self, *a: asked.append(a[1].number) or real(self, *a)
    )
    places = stream_of(stores[2], buffer_images=8).indices(0)
    next(places)
    assert asked == [0]
    assert len([*places]) + 1 == stream_of(stores[2]).n_batches and asked == [0, 1, 2]


def test_threads_are_named_ended_and_checked(stores):
    def names():
        return {t.name for t in threading.enumerate() if "store-reader" in t.name}

    batches = stream_of(stores[4], threads=3, buffer_images=10, batch_tokens=1).epoch(0)
    next(batches)
    assert names()
    batches.close()
    assert not names()
    with pytest.raises(StoreError, match="threads >= 1; got 0"):
        stream_of(stores[4], threads=0)


@pytest.mark.parametrize("buffer_images", [0, 8])
@pytest.mark.parametrize("prefetch", [True, False])
def test_damage_found_by_a_reader_thread_reaches_the_caller(tmp_path, buffer_images, prefetch):
    made = write_store(tmp_path / "store")
    shard = made.path / "acts.zarr" / "patch" / "c" / "1" / "0" / "0"
    data = bytearray(shard.read_bytes())
    data[10] ^= 1
    shard.write_bytes(data)
    stream = stream_of(made, threads=3, buffer_images=buffer_images, prefetch=prefetch)
    with pytest.raises(StoreDamaged, match=r"patch/c/1/0/0.*image rows 8 to 9"):
        list(stream.epoch(0))


def test_memory_of_another_shape_or_dtype_is_refused(stores):
    stream = stream_of(stores[4], allocate=lambda shape, dtype: np.empty(shape, np.float64))
    with pytest.raises(StoreError, match=r"gave float64 \[10, 4\]; .* float32 \[10, 4\]"):
        next(stream.epoch(0))


@pytest.mark.parametrize("prefetch", [True, False])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_window_that_was_left_early_is_not_read_again(made, prefetch, threads):
    """The start of b_dec reads the first batches, then training begins with the same ones."""
    chunks = []

    def stream():
        one = stream_of(made, batch_tokens=2, buffer_images=8, prefetch=prefetch, threads=threads)
        read = one.store.read_chunks

        def noted(wanted):
            for chunk, done in zip(wanted, read(wanted), strict=True):
                chunks.append(chunk.start)
                yield done

        one.store.read_chunks = noted
        return one

    whole, other = [*stream().epoch(0)], [*stream().epoch(1)]
    second = stream()._plan.windows(0)[1]
    for start in (0, second.first // 2 + 1):  # within the first window, within the second
        left = stream()
        chunks.clear()
        early = left.epoch(0, start)
        next(early)
        early.close()
        again = [*left.epoch(0, start)]
        for a, b in zip(again, whole[start:], strict=True):
            np.testing.assert_array_equal(a, b)
        window = left._plan.windows(0)[1 if start else 0]
        assert all(chunks.count(chunk) == 1 for chunk in window.chunks[:, 0].tolist())
        early = left.epoch(0, start)
        next(early)
        early.close()
        for a, b in zip(left.epoch(1), other, strict=True):  # another epoch has other windows
            np.testing.assert_array_equal(a, b)
