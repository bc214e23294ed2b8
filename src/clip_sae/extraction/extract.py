"""Extraction: one forward pass per image writes the tokens of all requested hooks and layers.

§4.1 (the activations SAEs are trained on). Decoding, the forward pass and writing overlap. The unit
of resuming is a store's range: no batch crosses a range's end, so a killed and restarted run writes
the same bytes as an uninterrupted one.
"""

import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from clip_sae.clip.batching import SmallerBatches
from clip_sae.clip.model import Key
from clip_sae.extraction.job import ExtractJob
from clip_sae.extraction.stages import (
    HostTokens,
    StageClock,
    WriterThread,
    decoded_batches,
    to_host,
)
from clip_sae.planning.versions import EXTRACT_VERSION
from clip_sae.store import StoreLayout, StoreWriter

__all__ = ["EXTRACT_VERSION", "ExtractJob", "ExtractReport", "extract"]


class Tower(Protocol):
    """A model to extract from: a `ClipModel`, or an adapted one."""

    @property
    def device(self) -> torch.device: ...
    def normalise(self, images: Tensor) -> Tensor: ...
    def run_to_pairs(self, pixels: Tensor, wanted: Sequence[Key]) -> dict[Key, Tensor]: ...


@dataclass(frozen=True)
class ExtractReport:
    """Images and times of one run.

    stage_seconds: "decode" and "write" are summed over their threads; "forward", "wait_decode" and
        "wait_write" are the main thread's; "wait_forward" is a writer's wait for a CUDA device,
        whose forward pass runs asynchronously.
    batch_limit: batch size after halving on out-of-memory, None if every batch fitted.
    """

    images: int
    seconds: float
    stage_seconds: dict[str, float]
    batch_limit: int | None

    @property
    def images_per_second(self) -> float:
        return self.images / self.seconds if self.seconds else 0.0

    @property
    def bottleneck(self) -> str:
        """The stage that the others waited for: "decode", "forward" or "write"."""
        spent = Counter(self.stage_seconds)
        # If the main thread waits for a writer that waits for the device, the device is the cause.
        held_up = {
            "decode": spent["wait_decode"],
            "forward": spent["forward"] + spent["wait_forward"],
            "write": spent["wait_write"] - spent["wait_forward"],
        }
        return max(held_up, key=held_up.__getitem__)


def extract(
    model: Tower,
    job: ExtractJob,
    *,
    batch_size: int = 64,
    decode_workers: int | None = None,
    write_workers: int = 1,
    ranges: Sequence[int] | None = None,
    progress: bool = True,
) -> ExtractReport:
    """Write the unfinished ranges of all stores of `job`, from one forward pass per image.

    Args:
        batch_size: images per forward pass; halved when the device runs out of memory.
        decode_workers: threads that decode; None for all CPUs of this process, 16 at most.
        write_workers: threads that write; more than one helps with many layers and a fast device.
        ranges: ranges that this process of several writes; the stores must be those of this job,
            and a later call completes them. None rebuilds stores that were started with other
            inputs, writes all missing ranges and completes the stores.

    Raises:
        BadImageError: an image cannot be decoded; the error names it.
        ActivationOverflow: a value does not fit the stores' dtype.
    """
    writers = job.open_writers(rebuild=ranges is None)
    clock, start = StageClock(), time.perf_counter()
    chosen = range(job.layout.n_ranges) if ranges is None else ranges
    steps = _plan(writers, job.layout, chosen, batch_size)
    smaller = SmallerBatches()
    if steps:
        batches = decoded_batches(
            job.sources(),
            [(step.start, step.stop) for step in steps],
            job.decode,
            job.architecture.image_size,
            workers=decode_workers or _cpus(),
            pinned=model.device.type == "cuda",
            clock=clock,
        )
        with closing(batches), ExitStack() as stack:
            threads = [
                stack.enter_context(WriterThread(share, clock))
                for share in _shares(writers, write_workers)
            ]
            bar = stack.enter_context(_bar(steps, job.layout, chosen, progress))
            for step, images in zip(steps, batches, strict=True):
                with clock.time("forward"), torch.inference_mode():
                    found = smaller(lambda part, s=step: _forward(model, part, s.keys), images)
                    tokens = {key: to_host(value, job.dtype) for key, value in found.items()}
                _hand_over(threads, step, tokens)
                bar.update(len(images))
    if ranges is None:
        for writer in writers.values():
            writer.complete()
    images = sum(step.stop - step.start for step in steps)
    return ExtractReport(images, time.perf_counter() - start, dict(clock.seconds), smaller.limit)


@dataclass(frozen=True)
class _Step:
    """One batch: store rows `start` to `stop` of range `k`, for the stores that still need it."""

    k: int
    start: int
    stop: int
    is_first: bool
    is_last: bool
    keys: tuple[Key, ...]


def _plan(
    writers: Mapping[Key, StoreWriter],
    layout: StoreLayout,
    ranges: Sequence[int],
    batch_size: int,
) -> list[_Step]:
    """Return the batches of all ranges that a store lacks. No batch crosses a range's end."""
    steps = []
    for k in ranges:
        keys = tuple(key for key, writer in writers.items() if not writer.finished(k))
        first, end = layout.range_bounds(k)
        for start in range(first, end, batch_size) if keys else ():
            stop = min(start + batch_size, end)
            steps.append(_Step(k, start, stop, start == first, stop == end, keys))
    return steps


def _forward(model: Tower, images: Tensor, keys: Sequence[Key]) -> dict[Key, Tensor]:
    return model.run_to_pairs(model.normalise(images), keys)


def _hand_over(
    threads: Sequence[WriterThread], step: _Step, tokens: Mapping[Key, HostTokens]
) -> None:
    for thread in threads:
        if step.is_first:
            thread.begin(step.k, step.keys)
        thread.put(tokens)
        if step.is_last:
            thread.commit()


def _shares(writers: Mapping[Key, StoreWriter], n: int) -> list[dict[Key, StoreWriter]]:
    """Return the stores of each of `n` threads."""
    items = list(writers.items())
    return [dict(items[i::n]) for i in range(min(n, len(items)))]


def _bar(
    steps: Sequence[_Step], layout: StoreLayout, ranges: Sequence[int], progress: bool
) -> tqdm:
    """Return a progress bar over the images of these ranges; finished ones count as done."""
    total = sum(stop - start for start, stop in map(layout.range_bounds, ranges))
    done = total - sum(step.stop - step.start for step in steps)
    return tqdm(
        total=total, initial=done, desc="extract", unit="image", smoothing=0.1, disable=not progress
    )


def _cpus() -> int:
    """Return the CPUs that this process may use; containers and Slurm may allow only some."""
    return min(16, len(os.sched_getaffinity(0)))
