"""The store of an adapted model: CLS and patches as in any store, prompts in a third array."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from tiny_clip import tiny_source

from clip_sae.adaptation import AdaptedClip, Prompts, PromptSpec
from clip_sae.adaptation.text_side import text_width
from clip_sae.clip.model import load_clip
from clip_sae.extraction.extract import ExtractJob, extract
from clip_sae.store import ActivationStore, verify_store

KEY = ("resid_post", 1)
N_IMAGES = 9


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return load_clip(tiny_source(tmp_path_factory.mktemp("tiny")), device="cpu")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    pixels = np.random.default_rng(0).integers(0, 256, (N_IMAGES, 16, 16, 3), dtype=np.uint8)
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(root / f"{i}.png")
    manifest = pd.DataFrame({"path": [f"{i}.png" for i in range(N_IMAGES)], "status": "ok"})
    return root, manifest, pixels


def job_of(clip, adapted, photos, folder):
    root, manifest, _ = photos
    return ExtractJob(
        manifest=manifest,
        data_root=root,
        stores={KEY: Path(folder) / "store"},
        specs={KEY: {"model": adapted.kind}},
        architecture=clip.architecture,
        dtype="float32",
        min_shards=4,
        n_prompts=adapted.n_prompts,
    )


@pytest.mark.parametrize("kind", ["none", "coop", "vpt", "maple"])
def test_a_store_gives_back_the_stream_that_runs_on(clip, photos, tmp_path, kind):
    spec = {
        "none": PromptSpec("none"),
        "coop": PromptSpec("coop", n_context=2),
        "vpt": PromptSpec("vpt", n_visual=3, depth=3),
        "maple": PromptSpec("maple", n_context=2, n_visual=2, depth=2),
    }[kind]
    prompts = Prompts(spec, text_width(clip), 32).requires_grad_(False)
    adapted = AdaptedClip.of_prompts(clip, prompts)
    job = job_of(clip, adapted, photos, tmp_path)
    extract(adapted, job, batch_size=4, decode_workers=1, progress=False)
    store = ActivationStore(tmp_path / "store")
    pixels = clip.normalise(photos[2][job.source_index])
    with torch.no_grad():
        expected = adapted.run_to(pixels, [1])[1]
        whole = adapted.embed_images(pixels)
    n_tokens = clip.architecture.n_tokens
    read = torch.from_numpy(store.read(0, N_IMAGES))
    torch.testing.assert_close(read, expected[:, :n_tokens], rtol=0, atol=1e-5)
    if adapted.n_prompts:
        behind = torch.from_numpy(store.read(0, N_IMAGES, tokens="prompt"))
        torch.testing.assert_close(behind, expected[:, n_tokens:], rtol=0, atol=1e-5)
        read = torch.cat([read, behind], dim=1)
    assert store.layout.n_prompts == adapted.n_prompts == spec.n_visual
    with torch.no_grad():
        torch.testing.assert_close(adapted.run_from(read, 1), whole, rtol=0, atol=1e-5)
    assert not verify_store(tmp_path / "store").damages
