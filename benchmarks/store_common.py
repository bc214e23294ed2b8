"""Shared code of the store's benchmarks: synthetic residuals, raw files, timing, tables.

The residuals imitate CLIP's: a fixed mean, six massive dimensions, a low-rank part
that is smooth over the patches, and sparse features with heavy tails; CLS has its own mean.
They are seeded, and decide the compressed sizes only: no other number depends on the values.
"""

import argparse
import os
import platform
import random
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np

from clip_sae.store import ActivationStore, StoreLayout, StoreWriter

Case = Callable[[], float]  # one run; returns seconds, so that preparation can stay out of them


def residuals(n_images: int, n_patches: int, d_model: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Synthetic "patch" [image, patch, d_model] and "cls" [image, d_model], float16."""
    rng = np.random.default_rng(seed)
    massive = np.zeros(d_model, np.float32)
    massive[rng.choice(d_model, 6, replace=False)] = rng.uniform(5, 40, 6)
    mean = rng.normal(0, 0.3, d_model).astype(np.float32) + massive
    basis = rng.normal(0, 1, (32, d_model)).astype(np.float32) / 6
    features = rng.normal(0, 1, (512, d_model)).astype(np.float32) / np.float32(d_model**0.5)
    side = int(np.ceil(n_patches**0.5))
    waves = np.cos(np.pi * np.outer(np.arange(side) + 0.5, np.arange(3)) / side)
    smooth = np.einsum("xa,yb->xyab", waves, waves).reshape(side * side, -1)[:n_patches]
    patch = np.empty((n_images, n_patches, d_model), np.float16)
    cls = np.empty((n_images, d_model), np.float16)
    for lo in range(0, n_images, 64):
        hi = min(lo + 64, n_images)
        codes = rng.normal(0, 0.5, (hi - lo, 9, 32)).astype(np.float32)
        x = np.matmul(smooth.astype(np.float32), codes) @ basis
        active = rng.random((hi - lo, n_patches, 512), np.float32) < 0.02
        x += (active * rng.standard_exponential(active.shape, np.float32) ** 2) @ features
        x += mean + rng.normal(0, 0.1, d_model).astype(np.float32)
        x += 0.1 * rng.standard_normal(x.shape, np.float32)
        patch[lo:hi] = x
        cls[lo:hi] = x.mean(axis=1) + rng.normal(0, 0.5, (hi - lo, d_model)) - 0.5 * mean
    return {"patch": patch, "cls": cls}


def data_of(options: argparse.Namespace) -> dict[str, np.ndarray]:
    """Return the arrays to measure with: of `--store`, or synthetic; whole chunks only."""
    if options.store is None:
        return residuals(options.images, options.patches, options.d_model)
    store = ActivationStore(options.store)
    if store.dtype != "float16":
        raise SystemExit(f"{options.store} is {store.dtype}; these benchmarks are of float16.")
    n = min(options.images, store.n_images)
    return {name: store.read_array(name, 0, n) for name in ("patch", "cls")}


def layout_of(data: dict[str, np.ndarray], **choices) -> StoreLayout:
    """Return the layout that the workflow would choose, in at least 4 shards."""
    n_images, n_patches, d_model = data["patch"].shape
    return StoreLayout.choose(n_images, n_patches, d_model, min_shards=4, **choices)


def write_store(path: Path, data: dict[str, np.ndarray], layout: StoreLayout) -> None:
    """Write a store as extraction does: batches of 64 images, checks, sums, part files."""
    index = np.arange(layout.n_images)
    writer = StoreWriter(path, layout, spec={"benchmark": "store"}, source_index=index)
    for k in range(layout.n_ranges):
        start, stop = layout.range_bounds(k)
        with writer.range(k) as part:
            for lo in range(start, stop, 64):
                hi = min(lo + 64, stop)
                part.put(data["cls"][lo:hi], data["patch"][lo:hi])
    writer.complete()


def write_raw(path: Path, array: np.ndarray, rows: int, *, flush: bool = False) -> None:
    """Write an array to one plain file, `rows` rows per call."""
    with open(path, "wb", buffering=0) as file:
        for lo in range(0, len(array), rows):
            file.write(array[lo : lo + rows].reshape(-1).view(np.uint8))
        if flush:
            os.fsync(file.fileno())


def timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def interleaved(cases: dict[str, Case], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of every case in every round; the first round is dropped.

    Cases take turns, in another order each round, so that neither a drifting speed nor the caches
    of the case before favour one of them.
    """
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    order = random.Random(0)
    for _ in range(rounds + 1):
        for name in order.sample([*cases], len(cases)):
            seconds[name].append(cases[name]())
    return {name: values[1:] for name, values in seconds.items()}


def table(
    title: str,
    seconds: dict[str, list[float]],
    amount: float,
    unit: str,
    references: list[str],
    amounts: dict[str, float] | None = None,
) -> None:
    """Print rates and, per round, their ratios to the references; median (min-max).

    amount: of `unit` handled by each case; amounts: of cases that handle another amount.
    """
    amounts = amounts or {}
    rates = {name: [amounts.get(name, amount) / s for s in v] for name, v in seconds.items()}
    heads = [f"/ {name}" for name in references]
    print(f"\n### {title}\n\n| case | {unit}/s | {' | '.join(heads)} |")
    print("|---|--:|" + "--:|" * len(heads))
    for name, rate in rates.items():
        ratios = [
            spread([a / b for a, b in zip(rate, rates[reference], strict=True)])
            for reference in references
        ]
        print(f"| {name} | {spread(rate)} | {' | '.join(ratios)} |", flush=True)


def spread(values: list[float], digits: int = 2) -> str:
    low, middle, high = min(values), statistics.median(values), max(values)
    if middle < 0.1:  # two digits would hide a slow case
        digits = 4
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def machine(packages: list[str]) -> str:
    """Processor, cores, kernel and library versions, in one line."""
    cpu = "unknown processor"
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(":")[1].strip() for line in lines if "model name" in line), cpu)
    names = ", ".join(f"{name} {version(name)}" for name in packages)
    kernel = platform.release().split("-")[0]
    return (
        f"{cpu}, {len(os.sched_getaffinity(0))} cores, Linux {kernel}, "
        f"Python {platform.python_version()}, {names}"
    )
