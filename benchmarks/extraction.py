"""Extraction compared with its stages alone: decode, forward and store write, in one run.

    python benchmarks/extraction.py IMAGES [--model ViT-B-32] [--images-used 256] [--rounds 3]

The overlapped pipeline should run at the pace of its slowest stage. Every round measures all of
them in turn, so that a drifting speed does not favour one; ratios are per round.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from clip_sae.clip.model import load_clip
from clip_sae.extraction.extract import ExtractJob, extract
from clip_sae.planning.architecture import ModelSource

SUFFIXES = {".jpg", ".jpeg", ".png"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path, help="folder of photographs, searched whole")
    parser.add_argument("--model", default="ViT-B-32", help="open_clip architecture")
    parser.add_argument("--pretrained", default="random:0")
    parser.add_argument("--layers", type=int, nargs="*", help="default: all")
    parser.add_argument("--images-used", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    model = load_clip(ModelSource(options.model, options.pretrained), device=options.device)
    layers = options.layers or list(range(model.architecture.n_layers))
    folder = Path(tempfile.mkdtemp())
    try:
        rounds = [measure(model, options, layers, folder) for _ in range(options.rounds + 1)]
    finally:
        shutil.rmtree(folder)
    report(rounds[1:], model, layers, options)  # the first round warms caches and kernels


def measure(model, options: argparse.Namespace, layers: list[int], folder: Path) -> dict:
    """One round: images per second of each stage alone and of the pipeline."""
    found = sorted(p for p in options.images.rglob("*") if p.suffix.lower() in SUFFIXES)
    if not found:
        raise SystemExit(f"{options.images} holds no {', '.join(sorted(SUFFIXES))} files")
    n = options.images_used
    names = [str(found[i % len(found)].relative_to(options.images)) for i in range(n)]
    keys = [("resid_post", layer) for layer in layers]
    job = ExtractJob(
        pd.DataFrame({"path": names, "status": "ok"}),
        options.images,
        {key: folder / f"{key[0]}-{key[1]}" for key in keys},
        {key: {"hook": key[0], "layer": key[1]} for key in keys},
        model.architecture,
        min_shards=2,
    )
    images: list[np.ndarray] = []
    rates = {"decode (1 thread)": n / timed(lambda: images.extend(map(job.decode, job.paths())))}
    batches = [images[i : i + options.batch_size] for i in range(0, n, options.batch_size)]
    pixels = [model.normalise(np.stack(batch)) for batch in batches]

    def bare() -> None:
        with torch.inference_mode():
            for batch in pixels:
                model.module.encode_image(batch)
        synchronise()

    kept: dict = {}

    def hooked() -> None:
        with torch.inference_mode():
            for batch in pixels:
                for key, value in model.run_to_pairs(batch, keys).items():
                    kept[key] = value.half().cpu().numpy()

    rates["open_clip forward"] = n / timed(bare)
    rates["forward with hooks"] = n / timed(hooked)
    rates["store write"] = n / timed(lambda: write(job, kept, n))
    clear(folder)
    rates["extraction"] = n / timed(
        lambda: extract(model, job, batch_size=options.batch_size, progress=False)
    )
    clear(folder)
    return rates


def write(job: ExtractJob, tokens: dict, n: int) -> None:
    """Write `n` images to every store from tokens in memory, batch by batch, and finish them."""
    writers = job.open_writers()
    for key, writer in writers.items():
        batch = tokens[key]
        for k in range(job.layout.n_ranges):
            start, stop = job.layout.range_bounds(k)
            with writer.range(k) as out:
                for i in range(start, stop, len(batch)):
                    rows = batch[: min(len(batch), stop - i)]
                    out.put(rows[:, 0], rows[:, 1:])
        writer.complete()


def timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def clear(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path)


def report(rounds: list[dict], model, layers: list[int], options: argparse.Namespace) -> None:
    """Print a Markdown table: images per second and the pipeline's ratio to each stage."""
    print(
        f"{options.model}, {len(layers)} layers, {options.images_used} images, batch "
        f"{options.batch_size}, {model.device}, {torch.get_num_threads()} threads, torch "
        f"{torch.__version__}, {len(rounds)} rounds; median (min-max)\n"
    )
    print("| stage alone | images/s | extraction / stage |\n|---|--:|--:|")
    for name in rounds[0]:
        rate = [r[name] for r in rounds]
        ratio = [r["extraction"] / r[name] for r in rounds]
        print(f"| {name} | {spread(rate, 1)} | {spread(ratio, 2)} |")


def spread(values: list[float], digits: int) -> str:
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


if __name__ == "__main__":
    main()
