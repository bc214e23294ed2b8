"""Feeding training from a store: tokens per second, the trainer's wait, and how well it shuffles.

    python benchmarks/feeding.py [--store PATH] [--images 8192] [--rounds 5] [--scratch FOLDER]
                                 [--only rates wait quality]

Rates are per second of wall-clock time and of processor time (tokens per second and core). Cold
means that the kernel had dropped the files from its cache before the run; a virtual machine's host
may still cache its disk. Results: `benchmarks/feeding.md`.
"""

import argparse
import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import store_peers as peers
import torch
from store_common import (
    Case,
    data_of,
    interleaved,
    layout_of,
    machine,
    spread,
    table,
    timed,
    write_raw,
    write_store,
)

from clip_sae.store import ActivationStore, StoreLayout, TokenStream
from clip_sae.store.shuffle import ShufflePlan

BATCH = 4096  # tokens
PARTS = ("rates", "wait", "quality")
LOADER_BATCHES = 3
RESERVOIR_BATCHES = 8
STEP_TIMES = (0.001, 0.002, 0.005, 0.02)  # seconds of a training step


class Feeding:
    """The files, and the ways to read batches from them."""

    def __init__(self, options: argparse.Namespace, scratch: Path) -> None:
        self.options, self.scratch = options, scratch
        self.data = data_of(options)
        self.layout = layout_of(self.data)
        self.n_tokens = self.layout.n_images * (1 + self.layout.n_patches)
        self.window = max(512, self.layout.n_images // 8)  # images, in the windowed cases

    def make_files(self) -> None:
        write_store(self.scratch / "store", self.data, self.layout)
        write_raw(self.scratch / "patch.bin", self.data["patch"], self.layout.chunk_images)
        first = {name: array[: peers.SAEV_IMAGES] for name, array in self.data.items()}
        peers.saev_write(self.scratch, first, self.layout.chunk_images)
        os.sync()  # or nothing could be dropped from the cache

    def stream(self, *, verify: bool = True, **options) -> TokenStream:
        store = ActivationStore(self.scratch / "store", verify=verify)
        return TokenStream(store, **{"batch_tokens": BATCH, "seed": 0, **options})

    def rates(self) -> None:
        """Tokens per second for every choice, in seconds of wall clock and of processor."""
        windowed = {"buffer_images": self.window}
        subset = {
            "cls": self.layout.n_images,
            "patch": self.layout.n_images * self.layout.n_patches,
        }
        choices = {
            "windowed, verified": windowed,
            "windowed, unverified": {**windowed, "verify": False},
            "windowed, verified, raw float16": {**windowed, "raw": True},
            "windowed, verified, raw, 2 threads": {**windowed, "raw": True, "threads": 2},
            "windowed, verified, raw, 4 threads": {**windowed, "raw": True, "threads": 4},
            "windowed, verified, no thread": {**windowed, "prefetch": False},
            "windowed, verified, patch only": {**windowed, "tokens": "patch"},
            "windowed, verified, CLS only": {**windowed, "tokens": "cls"},
            "resident, first epoch": {},
        }
        resident = self.stream()
        drain(resident.epoch(0))
        for heat in ("warm", "cold"):
            spent: dict[str, list[float]] = {name: [] for name in choices}
            cases: dict[str, Case] = {
                name: partial(self.run, choice, heat == "cold", spent[name])
                for name, choice in choices.items()
            }
            amounts = {
                name: subset[choice["tokens"]] / 1e6
                for name, choice in choices.items()
                if "tokens" in choice
            }
            if heat == "warm":
                cases["resident, later epochs"] = lambda: timed(lambda: drain(resident.epoch(1)))
                cases["DataLoader over memmap rows"] = self.loader()
                cases["saev-like reservoir, row by row"] = self.reservoir()
                amounts["DataLoader over memmap rows"] = LOADER_BATCHES * BATCH / 1e6
                amounts["saev-like reservoir, row by row"] = RESERVOIR_BATCHES * BATCH / 1e6
            seconds = interleaved(cases, self.options.rounds)
            title = f"Tokens delivered, {heat} (millions)"
            table(title, seconds, self.n_tokens / 1e6, "M", ["windowed, verified"], amounts)
            print("\nper second of processor time (one core):")
            for name, values in spent.items():
                amount = amounts.get(name, self.n_tokens / 1e6)
                print(f"- {name}: {spread([amount / s for s in values[1:]])} M")

    def run(self, choice: dict, cold: bool, spent: list[float]) -> float:
        """Seconds of one epoch; adds the processor time of all its threads to `spent`."""
        if cold:
            drop(self.scratch / "store")
        stream = self.stream(**choice)
        before = time.process_time()
        seconds = timed(lambda: drain(stream.epoch(0)))
        spent.append(time.process_time() - before)
        return seconds

    def loader(self) -> Case:
        shape = self.data["patch"].shape
        rows = np.memmap(self.scratch / "patch.bin", np.float16, "r", shape=shape)
        rows = peers.MemmapRows(rows.reshape(-1, shape[-1]))

        def case() -> float:
            loader = torch.utils.data.DataLoader(rows, BATCH, shuffle=True)
            return timed(lambda: [*itertools.islice(loader, LOADER_BATCHES)])

        return case

    def reservoir(self) -> Case:
        """saev's draw: a reservoir filled from strided slices, rows copied out one by one."""
        acts = peers.saev_open(self.scratch, self.layout, peers.SAEV_IMAGES)
        images = min(len(acts), 4 * RESERVOIR_BATCHES * BATCH // acts.shape[2])

        def case() -> float:
            random = np.random.default_rng(0)

            def action() -> None:
                pool = acts[:images, 0].reshape(-1, acts.shape[-1]).copy()
                held = len(pool)
                for _ in range(RESERVOIR_BATCHES):
                    batch = np.empty((BATCH, acts.shape[-1]), np.float32)
                    for i in range(BATCH):
                        drawn = int(random.integers(held))
                        held -= 1
                        batch[i] = pool[drawn]
                        pool[drawn] = pool[held]

            return timed(action)

        return case

    def wait(self) -> None:
        """Share of a trainer's time that it waits for data, for several lengths of a step."""
        print("\n### A trainer that waits (step of a fixed length, busy elsewhere)\n")
        print(
            "| step, ms | needs M tokens/s | share of time waiting, warm | cold |"
            "\n|--:|--:|--:|--:|"
        )
        for step in STEP_TIMES:
            shares = {heat: [] for heat in ("warm", "cold")}
            for _, heat in itertools.product(range(self.options.rounds), shares):
                if heat == "cold":
                    drop(self.scratch / "store")
                shares[heat].append(self.waiting(step))
            texts = " | ".join(spread(values) for values in shares.values())
            print(f"| {step * 1e3:g} | {BATCH / step / 1e6:.2f} | {texts} |", flush=True)

    def waiting(self, step: float) -> float:
        """Over one epoch in windows, after the first batch; the step sleeps, as a host does."""
        source = self.stream(buffer_images=self.window, raw=True).epoch(0)
        next(source)
        waited, start = 0.0, time.perf_counter()
        while True:
            before = time.perf_counter()
            batch = next(source, None)
            waited += time.perf_counter() - before
            if batch is None:
                return waited / (time.perf_counter() - start)
            time.sleep(step)

    def quality(self) -> None:
        """Entropy of image and token indices in a batch over the most they could have."""
        layout = StoreLayout.choose(131_072, self.layout.n_patches, self.layout.d_model)
        print("\n### Shuffle quality\n")
        print(
            f"{layout.n_images:,} images, batches of {BATCH}. Entropies are over those of a batch "
            "of distinct images, and of a uniform batch over tokens. Variance of a batch mean over "
            "that of fully random rows: each image has a value of its own (half of the variance), "
            "each token another.\n"
        )
        print("| order | images in the window | image entropy | token entropy | variance ratio |")
        print("|---|--:|--:|--:|--:|")
        n_tokens = 1 + layout.n_patches
        random = np.random.default_rng(0)
        total = layout.n_images * n_tokens

        def ours(images: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
            plan = ShufflePlan(layout, 1, layout.n_patches, images, 0)
            for window in plan.windows(0)[:-1]:
                rows, tokens = (x[plan.order(0, window)] for x in plan.locate(window))
                for lo in range(0, len(rows) - BATCH + 1, BATCH):
                    yield rows[lo : lo + BATCH], tokens[lo : lo + BATCH]

        def at(position: Callable[[int], np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
            for i in range(400):
                yield np.divmod(position(i), n_tokens)

        orders: dict[str, tuple[str, Iterable]] = {
            "fully random rows": ("all", at(lambda i: random.integers(0, total, BATCH))),
            "sequential": (
                f"{BATCH // n_tokens}",
                at(lambda i: (np.arange(BATCH) + i * BATCH * 37) % total),
            ),
        }
        for images in (1024, 4096, 16_384, 65_536):
            orders[f"ours, {images} images"] = (f"{images:,}", itertools.islice(ours(images), 400))
        values = random.standard_normal(layout.n_images)
        reference: float | None = None
        for name, (window, batches) in orders.items():
            image_entropy, token_entropy, means = [], [], []
            for rows, tokens in batches:
                image_entropy.append(entropy(rows) / np.log(min(BATCH, layout.n_images)))
                token_entropy.append(entropy(tokens) / np.log(n_tokens))
                means.append(values[rows].mean() + random.normal(0, BATCH**-0.5))
            variance = float(np.mean(np.square(means)))
            reference = reference or variance
            print(
                f"| {name} | {window} | {np.mean(image_entropy):.4f} | "
                f"{np.mean(token_entropy):.4f} | {variance / reference:.2f} |",
                flush=True,
            )


def entropy(indices: np.ndarray) -> float:
    """Of the empirical distribution, in nats."""
    shares = np.unique(indices, return_counts=True)[1] / len(indices)
    return float(-(shares * np.log(shares)).sum())


def drain(batches: Iterable[np.ndarray]) -> None:
    for _ in batches:
        pass


def drop(folder: Path) -> None:
    """Ask the kernel to forget the files below a folder; they must have been flushed."""
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path, help="a float16 store to take the values of")
    parser.add_argument("--images", type=int, default=8192)
    parser.add_argument("--patches", type=int, default=49)
    parser.add_argument("--d-model", type=int, default=768)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scratch", type=Path, help="folder for the files; default: temporary")
    parser.add_argument("--only", nargs="*", choices=PARTS, default=PARTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    scratch = Path(tempfile.mkdtemp(dir=options.scratch))
    try:
        feeding = Feeding(options, scratch)
        print(machine(["numpy", "torch"]))
        layout = feeding.layout
        print(
            f"{layout.n_images} images of {1 + layout.n_patches} x {layout.d_model} float16, "
            f"windows of {feeding.window} images, {options.rounds} interleaved rounds, median "
            "(min-max)"
        )
        feeding.make_files()
        for part in options.only:
            getattr(feeding, part)()
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
