"""Training from images gives order, values and SAEs of a stored run, to the bit.

The reference is a store extracted in batches of one chunk: the same images per forward pass.
"""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny_clip import tiny_source

from clip_sae.clip.model import load_clip
from clip_sae.datasets.images import BadImageError
from clip_sae.extraction.extract import ExtractJob, extract
from clip_sae.extraction.live_source import LiveSource
from clip_sae.extraction.live_tokens import ImageTokens, LiveStream
from clip_sae.planning.recipes import SaeRecipe
from clip_sae.sae.files import weights_sha256
from clip_sae.store import (
    ActivationOverflow,
    ActivationStore,
    Chunk,
    StoreError,
    TokenStream,
    to_float32,
)
from clip_sae.training import StoreTokens, TrainTarget, train_on_store, train_saes

N_IMAGES = 41  # the last shard and the last chunk are partial
KEY = ("resid_post", 1)
DTYPES = ("float16", "bfloat16", "float32")
RECIPE = {
    "expansion_factor": 2,
    "batch_tokens": 16,
    "warmup_steps": 1,
    "dead_window_tokens": 64,
    "init_tokens": 30,
}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def twins(tmp_path_factory):
    """Make, per dtype, the job and its store; and the model."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("twins")
    source = tiny_source(folder / "clip")
    model = load_clip(source, device="cpu")
    manifest = write_photos(folder / "photos")
    jobs = {}
    for dtype in DTYPES:
        jobs[dtype] = ExtractJob(
            manifest,
            folder / "photos",
            {KEY: folder / dtype},
            {KEY: {"dtype": dtype}},
            model.architecture,
            seed=3,
            dtype=dtype,
            chunk_mb=0.004,
            min_shards=3,
        )
        layout = jobs[dtype].layout
        assert layout.n_ranges > 2 and N_IMAGES % layout.shard_images % layout.chunk_images
        extract(model, jobs[dtype], batch_size=layout.chunk_images, progress=False)
    return SimpleNamespace(
        source=source,
        model=model,
        jobs=jobs,
        folder=folder,
        stores={dtype: folder / dtype for dtype in DTYPES},
    )


def write_photos(root: Path) -> pd.DataFrame:
    root.mkdir()
    rng = np.random.default_rng(0)
    for i in range(N_IMAGES):
        pixels = rng.integers(0, 256, (20, 20 + i % 5, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"{i:02d}.png")
    paths = [f"{i:02d}.png" for i in range(N_IMAGES)]
    return pd.DataFrame({"path": paths, "status": "ok"}, index=range(7, 7 + N_IMAGES))


def live(twins, dtype="float16", **options) -> LiveSource:
    return LiveSource(twins.model, twins.jobs[dtype], KEY, **options)


@settings(deadline=None, max_examples=40)
@given(
    dtype=st.sampled_from(DTYPES),
    names=st.sampled_from([("cls",), ("patch",), ("cls", "patch")]),
    workers=st.integers(1, 3),
    data=st.data(),
)
def test_chunks_in_any_order_are_those_of_the_store(twins, dtype, names, workers, data):
    store, source = ActivationStore(twins.stores[dtype]), live(twins, dtype, decode_workers=workers)
    chunks = [*store.layout.chunks()]
    chosen = data.draw(st.lists(st.sampled_from(chunks), min_size=1, max_size=5))

    def read(origin):
        arrays = store.layout.arrays
        chunks = [
            Chunk(lo, hi, {n: np.zeros((hi - lo, *arrays[n].row_shape), arrays[n].disk_dtype)
                           for n in names})
            for lo, hi in chosen
        ]  # fmt: skip
        assert len([*origin.read_chunks(chunks)]) == len(chunks)
        return chunks

    for stored, computed in zip(read(store), read(source), strict=True):
        assert [*stored.arrays] == [*computed.arrays] == [*names]
        for name in names:
            np.testing.assert_array_equal(stored.arrays[name], computed.arrays[name])
    assert source.images == sum(hi - lo for lo, hi in chosen)


@settings(deadline=None, max_examples=25)
@given(
    dtype=st.sampled_from(DTYPES),
    tokens=st.sampled_from(["all", "cls", "patch"]),
    buffer_images=st.sampled_from([0, 4, 16]),
    batch_tokens=st.integers(1, 70),
    seed=st.integers(0, 2**40),
    epoch=st.integers(0, 3),
    raw=st.booleans(),
    data=st.data(),
)
def test_a_live_stream_is_a_stored_one(
    twins, dtype, tokens, buffer_images, batch_tokens, seed, epoch, raw, data
):
    batch_tokens = min(batch_tokens, N_IMAGES)
    options = dict(
        batch_tokens=batch_tokens, buffer_images=buffer_images, tokens=tokens, seed=seed, raw=raw
    )
    stored = TokenStream(ActivationStore(twins.stores[dtype]), **options)
    start = data.draw(st.integers(0, stored.n_batches))
    computed = LiveStream(live(twins, dtype), **options)
    assert (computed.n_batches, computed.n_tokens) == (stored.n_batches, stored.n_tokens)
    one, other = [*computed.epoch(epoch, start)], [*stored.epoch(epoch, start)]
    assert len(one) == len(other) == stored.n_batches - start
    for a, b in zip(one, other, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def test_another_cut_into_forward_passes_agrees_within_rounding(twins, tmp_path):
    job = replace(twins.jobs["float32"], stores={KEY: tmp_path / "store"})
    extract(twins.model, job, batch_size=5, progress=False)
    options = dict(batch_tokens=30, seed=0)
    stored = TokenStream(ActivationStore(tmp_path / "store"), **options)
    for a, b in zip(
        LiveStream(live(twins, "float32"), **options).epoch(0), stored.epoch(0), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)


def targets(folder: Path, **changes) -> list[TrainTarget]:
    """Return a sweep over k that both routes train in one pass."""
    entry = {**RECIPE, "architecture": "topk", "k": [4, 8], **changes}
    return [
        TrainTarget(variant, recipe, folder / variant, {"record": "the same for both"})
        for variant, recipe in SaeRecipe.from_config("twin", entry)
    ]


def digests(folder: Path) -> dict[str, str]:
    return {path.name: weights_sha256(path) for path in sorted(folder.iterdir())}


def live_tokens(twins, recipe: SaeRecipe, dtype="float16") -> ImageTokens:
    return ImageTokens(
        twins.source,
        "auto",
        twins.jobs[dtype],
        KEY,
        recipe.batch_tokens,
        recipe.data_seed,
        recipe.tokens,
    )


QUIET = {"device": "cpu", "threads": 1, "progress": False, "log": lambda line: None}


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("tokens", ["all", "cls", "patch"])
def test_saes_from_images_are_those_from_the_store(twins, tmp_path, dtype, tokens):
    changes = {"tokens": tokens, "epochs": 2.5}
    first = targets(tmp_path, **changes)[0].recipe
    stored = StoreTokens(
        twins.stores[dtype], first.batch_tokens, seed=first.data_seed, tokens=tokens
    )
    train_on_store(targets(tmp_path / "stored", **changes), stored, **QUIET)
    images = live_tokens(twins, first, dtype)
    train_on_store(targets(tmp_path / "live", **changes), images, **QUIET)
    assert digests(tmp_path / "live") == digests(tmp_path / "stored")
    assert len(digests(tmp_path / "live")) == 2
    curves = [(tmp_path / route / "k-4/curve.csv").read_bytes() for route in ("live", "stored")]
    assert curves[0] == curves[1]


class Dying(LiveStream):
    """A stream that raises after some batches, as if its process were killed."""

    def __init__(self, *args, dies_after=None, **options):
        super().__init__(*args, **options)
        self.left = dies_after

    def epoch(self, epoch, start_batch=0):
        for batch in super().epoch(epoch, start_batch):
            if self.left == 0:
                raise KeyboardInterrupt
            self.left = None if self.left is None else self.left - 1
            yield batch


@pytest.mark.parametrize("buffer_images", [0, 12])
def test_killed_and_resumed_is_uninterrupted(twins, tmp_path, buffer_images):
    """Whole windows before the checkpoint are not computed again."""

    def train(name, **options):
        sweep = targets(tmp_path / name, epochs=2)
        stream = Dying(
            source := live(twins), batch_tokens=16, seed=0, buffer_images=buffer_images, **options
        )
        try:
            train_saes(
                sweep, stream, d_model=32, checkpoint_every_steps=3, **QUIET | {"threads": None}
            )
        except KeyboardInterrupt:
            return source.images
        return source.images

    whole = train("whole")
    train("killed", dies_after=21)  # in the second epoch of 13 batches
    assert [*(tmp_path / "killed").rglob("state.safetensors")]
    resumed = train("killed")
    assert digests(tmp_path / "killed") == digests(tmp_path / "whole")
    if buffer_images:
        # the start of b_dec costs less than its window: training begins with that window
        assert 2 * N_IMAGES <= whole < 2 * N_IMAGES + buffer_images
        assert resumed < N_IMAGES  # of the second epoch, from the checkpoint's window on
    else:
        assert whole == resumed == N_IMAGES  # all in memory: once for all epochs


def test_a_split_that_fits_in_memory_is_computed_once(twins):
    stream = LiveStream(source := live(twins), batch_tokens=50, seed=0)
    for epoch in range(3):
        for _ in stream.epoch(epoch):
            pass
    assert source.images == N_IMAGES


def test_a_bad_image_is_named_before_its_batch(twins, tmp_path):
    for path in twins.jobs["float16"].data_root.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    job = replace(twins.jobs["float16"], data_root=tmp_path)
    job.paths()[20].write_bytes(b"no image")
    stream = LiveStream(LiveSource(twins.model, job, KEY), batch_tokens=8, seed=0, buffer_images=4)
    with pytest.raises(BadImageError, match=job.paths()[20].name):
        for _ in stream.epoch(0):
            pass


def test_a_value_that_the_dtype_does_not_hold_is_refused_with_its_image(twins):
    class Hot:
        architecture, device = twins.model.architecture, twins.model.device
        normalise = staticmethod(twins.model.normalise)

        @staticmethod
        def run_to_pairs(pixels, wanted):
            found = twins.model.run_to_pairs(pixels, wanted)
            found[KEY][0, 3, 5] = 7e4
            return found

    job = twins.jobs["float16"]
    source = LiveSource(Hot(), job, KEY)
    stream = LiveStream(source, batch_tokens=8, seed=0)
    image = stream._plan.windows(0)[0].chunks[0, 0]  # the first of the first chunk that is run
    message = (
        rf"resid_post of layer 1: image row {image} \(.*{job.paths()[image].name}, manifest row "
        rf"{job.source_index[image]}\), patch 2, d_model index 5 is inf; float16 is stored up to"
    )
    with pytest.raises(ActivationOverflow, match=message):
        next(stream.epoch(0))
    cls = LiveStream(source, batch_tokens=8, seed=0, tokens="cls")  # without that value
    assert np.isfinite(next(cls.epoch(0))).all()


def test_messages_name_the_images(twins):
    with pytest.raises(StoreError, match=r"photos has 41 tokens \(cls\); a batch of 42 is never"):
        LiveStream(live(twins), batch_tokens=42, seed=0, tokens="cls", drop_last=True)


def test_the_log_says_who_waits_for_whom(twins, tmp_path, capfd):
    lines = []
    first = targets(tmp_path)[0].recipe
    options = QUIET | {"log": lines.append, "progress": True}
    train_on_store(targets(tmp_path), live_tokens(twins, first), **options)
    report = next(line for line in lines if "step 13/13" in line)
    assert " images/s, mostly " in report and "training waited for them" in report
    assert "tokens/s" in report
    assert "images" in capfd.readouterr().err  # the bar of the window


def test_leaving_early_ends_all_threads(twins):
    import threading

    before = threading.active_count()
    batches = LiveStream(
        live(twins, decode_workers=2), batch_tokens=4, seed=0, buffer_images=8
    ).epoch(0)
    assert to_float32(next(batches)).shape == (4, 32)
    batches.close()
    assert threading.active_count() == before
