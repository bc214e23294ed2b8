"""CLIP towers, photographs and extractions, for the sections beyond training."""

import functools
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from measuring import Bench
from PIL import Image
from torch.nn import functional as F

from clip_sae.clip.model import ClipModel, Key, load_clip
from clip_sae.extraction.extract import ExtractJob, extract
from clip_sae.planning.architecture import ModelSource
from clip_sae.sae import Sae
from clip_sae.store import ActivationStore

REPOSITORY = Path(__file__).resolve().parents[2]
# The demo's CLIP: 6 blocks of width 128, and as many tokens as ViT-B/32.
DEMO = ModelSource(f"local-dir:{REPOSITORY / 'workflow/resources/demo_clip'}")
PHOTO_SIZE = (500, 375)  # ImageNet's usual
LATENTS = 256


def tower_source(tiny: bool) -> ModelSource:
    """Return ViT-B/32 with random weights, which decide no speed; the demo's CLIP if `tiny`."""
    return DEMO if tiny else ModelSource("ViT-B-32", "random:0")


def device_tower(bench: Bench, precision: str) -> ClipModel:
    """Load the tower on the device under test."""
    return load_clip(tower_source(bench.tiny), device=str(bench.device), precision=precision)


@functools.cache
def cpu_tower(tiny: bool) -> ClipModel:
    """Load the tower on the CPU, once for all sections."""
    return load_clip(tower_source(tiny), device="cpu", precision="float32")


def three_layers(model: ClipModel) -> list[int]:
    """Return the first, a middle and the last layer."""
    n = model.architecture.n_layers
    return [0, n // 2 - 1, n - 1]


def random_images(model: ClipModel, n: int) -> np.ndarray:
    """Return uint8 [image, height, width, channel] of the tower's size."""
    size = model.architecture.image_size
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


def residuals(bench: Bench) -> dict[Key, torch.Tensor]:
    """Return both hooks of three layers and the embedding, from the CPU: {(hook, layer): tokens}.

    Tokens are [image, token, d_model]; 4 images in a tiny run, else 16.
    """
    model = cpu_tower(bench.tiny)
    pixels = model.normalise(random_images(model, 4 if bench.tiny else 16))
    with torch.inference_mode():
        return model.run_to(pixels, three_layers(model), ("resid_post", "mlp_out"), embedding=True)


def unit_texts(n: int, width: int, seed: int = 1) -> torch.Tensor:
    """Return random unit text embeddings [text, d_embed] on the CPU."""
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(n, width, generator=generator), dim=-1)


def random_sae(d_model: int, n_latents: int, k: int, device) -> Sae:
    """Return a TopK SAE with random unit rows, the encoder the decoder's transpose."""
    sae = Sae(d_model, n_latents, "topk", k=k, input_norm="layer_norm")
    generator = torch.Generator().manual_seed(2)
    rows = F.normalize(torch.randn(n_latents, d_model, generator=generator), dim=-1)
    sae.W_dec.copy_(rows)
    sae.W_enc.copy_(rows.T)
    return sae.to(device)


def photographs(folder: Path, n: int) -> list[str]:
    """Draw `n` JPEG files of photographs' size and compressibility; return their names."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    names = [f"{i}.jpg" for i in range(n)]
    for name in names:
        coarse = Image.fromarray(rng.integers(0, 256, (32, 40, 3), dtype=np.uint8))
        pixels = np.asarray(coarse.resize(PHOTO_SIZE, Image.BICUBIC)).astype(np.float32)
        pixels += rng.normal(0, 9, pixels.shape)
        picture = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
        if not (folder / name).exists():
            picture.save(folder / name, quality=88)
    return names


def extraction_job(bench: Bench, model: ClipModel, n: int, out: str, keys: list[Key]) -> ExtractJob:
    """Return the extraction of `n` images, which repeat, into a folder `out` of scratch files."""
    images = bench.folder / "images"
    names = photographs(images, 8 if bench.tiny else 64)
    manifest = pd.DataFrame({"path": [names[i % len(names)] for i in range(n)], "status": "ok"})
    return ExtractJob(
        manifest,
        images,
        {(hook, layer): bench.folder / out / f"{hook}-{layer}" for hook, layer in keys},
        {(hook, layer): {"hook": hook, "layer": layer} for hook, layer in keys},
        model.architecture,
        min_shards=4,
    )


def extracted(bench: Bench, model: ClipModel, out: str) -> dict[Key, ActivationStore]:
    """Extract both hooks of a middle layer into `out`; existing stores stay."""
    layer = three_layers(model)[1]
    n, batch = (12, 8) if bench.tiny else (96, 32)
    job = extraction_job(bench, model, n, out, [("resid_post", layer), ("mlp_out", layer)])
    extract(model, job, batch_size=batch, progress=False)
    return {key: ActivationStore(path) for key, path in job.stores.items()}
