"""Extraction by stage: decoding, the forward pass, copies to the host, and all of it together.

Stores are written into memory where the machine has a memory file system, so no disk is measured.
"""

import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import torch
from measuring import Bench
from tower_subjects import DEMO, extraction_job

from clip_sae.clip.model import ClipModel, Key, load_clip
from clip_sae.extraction.extract import ExtractJob, extract
from clip_sae.extraction.stages import to_host
from clip_sae.planning.architecture import ModelSource

# Tower, images extracted, images per batch.
FULL = (
    (ModelSource("ViT-B-32", "random:0"), 8192, 256),
    (ModelSource("ViT-L-14", "random:0"), 1024, 128),
)
TINY = ((DEMO, 32, 16),)
OUT = "store-speed"


def run(bench: Bench) -> None:
    """Measure every tower with the precision that "auto" chooses, all layers."""
    for source, n, batch in TINY if bench.tiny else FULL:
        name = "demo" if source == DEMO else source.model
        model = load_clip(source, device=str(bench.device))
        keys = [("resid_post", layer) for layer in range(model.architecture.n_layers)]
        job = extraction_job(bench, model, n, OUT, keys)
        decoding(bench, name, job)
        forward(bench, name, model, keys, batch)
        for write_workers in (1, 4):
            whole(bench, name, model, keys, n, batch, write_workers)


def row(bench: Bench, name: str, images_per_second: float) -> None:
    """Record one stage."""
    bench.report.row("extraction", name, images_per_s=images_per_second)


def decoding(bench: Bench, name: str, job: ExtractJob) -> None:
    """Measure decoding and resizing, with one thread and with one for each core."""
    sources = job.sources()[: 32 if bench.tiny else 512]
    for workers in (1, os.cpu_count() or 1):
        with ThreadPoolExecutor(workers) as pool:
            start = time.perf_counter()
            list(pool.map(lambda source: job.decode(*source), sources))
            took = time.perf_counter() - start
        row(bench, f"{name} decode, {workers} threads", len(sources) / took)


def forward(bench: Bench, name: str, model: ClipModel, keys: list[Key], batch: int) -> None:
    """Measure the stages on the device, and open_clip's own forward pass in float32."""
    size = model.architecture.image_size
    images = torch.randint(0, 256, (batch, size, size, 3), dtype=torch.uint8)
    images = images.pin_memory() if bench.cuda else images
    with torch.inference_mode():
        pixels = model.normalise(images)
        found = model.run_to_pairs(pixels, keys)
        stages = {
            "normalise": (lambda: model.normalise(images), 10),
            "forward, all hooks": (lambda: model.run_to_pairs(pixels, keys), 10),
            "encode_image float32": (lambda: model.module.encode_image(pixels), 3),
            "copy out": (lambda: [to_host(x, "float16") for x in found.values()], 5),
        }
        for stage, (action, times) in stages.items():
            row(bench, f"{name} {stage}", batch / bench.milliseconds(action, times) * 1e3)


def whole(
    bench: Bench,
    name: str,
    model: ClipModel,
    keys: list[Key],
    n: int,
    batch: int,
    write_workers: int,
) -> None:
    """Measure a whole extraction, and report the stage that the others waited for."""
    job = extraction_job(bench, model, n, OUT, keys)
    workers = {"decode_workers": os.cpu_count(), "write_workers": write_workers}
    try:
        report = extract(model, job, batch_size=batch, progress=False, **workers)
    finally:
        shutil.rmtree(bench.folder / OUT, ignore_errors=True)
    row(bench, f"{name} extract, {write_workers} writers", report.images_per_second)
    seconds = {stage: round(value, 1) for stage, value in report.stage_seconds.items()}
    bench.report.say(seconds, "bottleneck:", report.bottleneck)
