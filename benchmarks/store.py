"""The store compared with raw files and with other packages, in one process.

    python benchmarks/store.py [--store PATH] [--images 4096] [--rounds 7] [--scratch FOLDER]
                               [--only write read shuffle compression]

Everything is on one thread, but for StoreWriter, which writes on a second one. Reads come from the
page cache, and writes go to it unless a row says fsync. Results and targets:
`benchmarks/store.md`.
"""

import argparse
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import google_crc32c
import numpy as np
import store_peers as peers
import torch
import zarr
from store_common import (
    Case,
    data_of,
    interleaved,
    layout_of,
    machine,
    table,
    timed,
    write_raw,
    write_store,
)

from clip_sae.store import ActivationStore, TokenStream, verify_store
from clip_sae.store.codecs import COMPRESSIONS
from clip_sae.store.shard_file import shard_writer

BATCH = 4096  # tokens
WINDOW = 16  # chunks that are shuffled together
LOADER_BATCHES = 3  # of single rows: enough to time, since a row costs microseconds
PARTS = ("write", "read", "shuffle", "compression")
Read = Callable[[str, int, int, np.ndarray], object]  # (array, first image, end, target)


class Bench:
    """The data, their files, and the buffers that all parts of the benchmark share."""

    def __init__(self, options: argparse.Namespace, scratch: Path) -> None:
        self.options, self.scratch = options, scratch
        self.data = data_of(options)
        self.layout = layout_of(self.data)
        self.gigabytes = sum(array.nbytes for array in self.data.values()) / 1e9
        self.n_tokens = self.layout.n_images * (1 + self.layout.n_patches)
        self.rows = self.layout.chunk_images
        self.blocks = [*self.layout.chunks()]

    def make_files(self) -> None:
        """The same activations as a store, plain files, a Zarr group, and a shard like saev's."""
        write_store(self.scratch / "store", self.data, self.layout)
        for name, array in self.data.items():
            write_raw(self.scratch / f"{name}.bin", array, self.rows)
        peers.saev_write(self.scratch, self.data, self.rows)

    def fresh(self, action: Callable[[Path], object], *, flush: bool) -> Case:
        """Return a case that writes into an empty folder, deleted outside of the measured time."""

        def case() -> float:
            folder = Path(tempfile.mkdtemp(dir=self.scratch))
            try:
                with fsync_is(flush):
                    return timed(lambda: action(folder))
            finally:
                shutil.rmtree(folder)

        return case

    def write(self) -> None:
        """Writing: the format alone, the whole writer, and others."""

        def raw(folder: Path, flush: bool) -> None:
            for name, array in self.data.items():
                write_raw(folder / name, array, self.rows, flush=flush)

        def shards(folder: Path, layout=self.layout) -> None:
            for name, array in layout.arrays.items():
                for k in range(layout.n_ranges):
                    shard = shard_writer(folder / f"{name}{k}", array, k)
                    start, stop = layout.range_bounds(k)
                    for lo in range(start, stop, self.rows):
                        chunk = shard.chunk_buffer()
                        chunk[...] = self.data[name][lo : lo + self.rows]
                        shard.write_chunk(chunk)
                    shard.finish()

        def store(folder: Path) -> None:
            write_store(folder / "store", self.data, self.layout)

        cases = {
            "raw": self.fresh(lambda f: raw(f, False), flush=False),
            "ours, shard files (chunks, crc32c, index)": self.fresh(shards, flush=False),
            "ours, StoreWriter (checks, sums, part files)": self.fresh(store, flush=False),
            "zarr-python, same shards": self.fresh(
                lambda f: peers.zarr_write(f / "z", self.data, self.layout), flush=False
            ),
            "np.memmap w+": self.fresh(
                lambda f: peers.memmap_write(f, self.data, self.rows), flush=False
            ),
            "saev-like (float32, two layers)": self.fresh(
                lambda f: peers.saev_write(f, self.data, self.rows), flush=False
            ),
            "raw + fsync": self.fresh(lambda f: raw(f, True), flush=True),
            "ours, shard files + fsync": self.fresh(shards, flush=True),
            "ours, StoreWriter + fsync": self.fresh(store, flush=True),
        }
        seconds = interleaved(cases, self.options.rounds)
        layers = {"saev-like (float32, two layers)": peers.SAEV_LAYERS * self.gigabytes}
        references = ["raw", "raw + fsync"]
        table("Writing (GB of float16)", seconds, self.gigabytes, "GB", references, layers)

    def raw_reader(self, check: bool = False) -> Read:
        """Read the plain files with pread, with a crc32c of each chunk if `check`."""
        files = {name: os.open(self.scratch / f"{name}.bin", os.O_RDONLY) for name in self.data}
        row_bytes = {name: array[0].nbytes for name, array in self.data.items()}

        def read(name: str, start: int, stop: int, out: np.ndarray) -> None:
            view = out.reshape(-1).view(np.uint8)
            os.preadv(files[name], [view], start * row_bytes[name])
            if check:
                google_crc32c.value(view)

        return read

    def zarr_reader(self) -> Read:
        group = zarr.open_group(self.scratch / "store" / "acts.zarr", mode="r")
        arrays = {name: group[name] for name in self.data}

        def read(name: str, start: int, stop: int, out: np.ndarray) -> None:
            out[...] = arrays[name][start:stop].reshape(out.shape)

        return read

    def memmap_reader(self) -> Read:
        maps = {
            name: np.memmap(self.scratch / f"{name}.bin", array.dtype, "r", shape=array.shape)
            for name, array in self.data.items()
        }

        def read(name: str, start: int, stop: int, out: np.ndarray) -> None:
            out[...] = maps[name][start:stop].reshape(out.shape)

        return read

    def saev_reader(self) -> Read:
        acts = peers.saev_open(self.scratch, self.layout)

        def read(name: str, start: int, stop: int, out: np.ndarray) -> None:
            tokens = acts[start:stop, 0, :1] if name == "cls" else acts[start:stop, 0, 1:]
            out[...] = tokens.reshape(out.shape)

        return read

    def our_reader(self, verify: bool) -> Read:
        return ActivationStore(self.scratch / "store", verify=verify).read_array

    def sequential(self, reader: Callable[[], Read], dtype: str = "float16") -> Case:
        """Read every chunk of both arrays in order, into one buffer that stays in the cache."""
        buffers = {
            name: np.empty((self.rows, *array.shape[1:]), dtype)
            for name, array in self.data.items()
        }

        def case() -> float:
            read = reader()  # a new one: a store checks each chunk once

            def action() -> None:
                for name, buffer in buffers.items():
                    for start, stop in self.blocks:
                        read(name, start, stop, buffer[: stop - start])

            return timed(action)

        return case

    def read(self) -> None:
        """Sequential reads."""
        cases = {
            "raw pread": self.sequential(self.raw_reader),
            "raw pread + crc32c": self.sequential(lambda: self.raw_reader(check=True)),
            "ours, unverified": self.sequential(lambda: self.our_reader(False)),
            "ours, verified": self.sequential(lambda: self.our_reader(True)),
            "np.memmap of raw files": self.sequential(self.memmap_reader),
            "zarr-python (verifies)": self.sequential(self.zarr_reader),
            "saev-like (float32)": self.sequential(self.saev_reader, "float32"),
        }
        seconds = interleaved(cases, self.options.rounds)
        references = ["raw pread", "raw pread + crc32c"]
        table("Sequential read (GB of float16)", seconds, self.gigabytes, "GB", references)

    def windows(self, read: Read, dtype: str = "float16") -> Iterator[np.ndarray]:
        """Batches from windows of random chunks: the same chunks, buffer and gather for all."""
        random = np.random.default_rng(0)
        d_model, per_image = self.layout.d_model, 1 + self.layout.n_patches
        memory = np.empty((WINDOW * self.rows * per_image, d_model), dtype)
        batch = np.empty((BATCH, d_model), dtype)
        order = random.permutation(len(self.blocks))
        for lo in range(0, len(order), WINDOW):
            row = 0
            for start, stop in (self.blocks[i] for i in order[lo : lo + WINDOW]):
                for name, tokens in (("cls", 1), ("patch", per_image - 1)):
                    n = (stop - start) * tokens
                    read(name, start, stop, memory[row : row + n])
                    row += n
            chosen = random.permutation(row)
            for first in range(0, row, BATCH):
                rows = chosen[first : first + BATCH]
                np.take(memory, rows, axis=0, mode="clip", out=batch[: len(rows)])
                yield batch

    def shuffled(self, reader: Callable[[], Read], dtype: str = "float16") -> Case:
        def case() -> float:
            read = reader()
            return timed(lambda: [None for _ in self.windows(read, dtype)])

        return case

    def stream(self, verify: bool, raw: bool) -> Case:
        """TokenStream itself, in the calling thread."""

        def case() -> float:
            store = ActivationStore(self.scratch / "store", verify=verify)
            images = WINDOW * self.rows
            options = dict(batch_tokens=BATCH, seed=0, buffer_images=images, prefetch=False)
            stream = TokenStream(store, raw=raw, **options)
            return timed(lambda: [None for _ in stream.epoch(0)])

        return case

    def loader(self) -> Case:
        shape = self.data["patch"].shape
        rows = np.memmap(self.scratch / "patch.bin", np.float16, "r", shape=shape)
        rows = peers.MemmapRows(rows.reshape(-1, shape[-1]))

        def case() -> float:
            loader = torch.utils.data.DataLoader(rows, BATCH, shuffle=True)
            return timed(lambda: [*itertools.islice(loader, LOADER_BATCHES)])

        return case

    def shuffle(self) -> None:
        """Shuffled batches."""
        cases = {
            "raw pread": self.shuffled(self.raw_reader),
            "raw pread + crc32c": self.shuffled(lambda: self.raw_reader(check=True)),
            "ours, unverified": self.shuffled(lambda: self.our_reader(False)),
            "ours, verified": self.shuffled(lambda: self.our_reader(True)),
            "TokenStream, verified, float16": self.stream(verify=True, raw=True),
            "TokenStream, verified, as float32": self.stream(verify=True, raw=False),
            "np.memmap of raw files": self.shuffled(self.memmap_reader),
            "zarr-python (verifies)": self.shuffled(self.zarr_reader),
            "saev-like (float32)": self.shuffled(self.saev_reader, "float32"),
            "DataLoader over memmap rows": self.loader(),
        }
        seconds = interleaved(cases, self.options.rounds)
        amounts = {"DataLoader over memmap rows": LOADER_BATCHES * BATCH / 1e6}
        title = f"Block-shuffled batches of {BATCH} tokens"
        table(title, seconds, self.n_tokens / 1e6, "M tokens", ["raw pread"], amounts)

    def compression(self) -> None:
        """Sizes and rates of every choice of `activations.compression`."""
        kept: dict[str, float] = {}
        cases: dict[str, Case] = {}
        for name in COMPRESSIONS:
            layout = layout_of(self.data, compression=name)
            folder = self.scratch / f"store-{name}"
            write_store(folder, self.data, layout)
            kept[name] = sum(f.stat().st_size for f in folder.rglob("c/**/*") if f.is_file())
            cases[f"{name}: write"] = self.fresh(
                lambda f, layout=layout: write_store(f / "store", self.data, layout), flush=False
            )
            cases[f"{name}: sequential, verified"] = self.sequential(
                lambda folder=folder: ActivationStore(folder).read_array
            )
            cases[f"{name}: block-shuffled, verified"] = self.shuffled(
                lambda folder=folder: ActivationStore(folder).read_array
            )
            cases[f"{name}: verify command"] = lambda folder=folder: timed(
                lambda: verify_store(folder)
            )
        seconds = interleaved(cases, self.options.rounds)
        sizes = ", ".join(f"{name} {size / kept['none']:.3f}" for name, size in kept.items())
        print(f"\nSize on disk over uncompressed: {sizes}")
        references = ["none: write", "none: sequential, verified", "none: block-shuffled, verified"]
        table("Compression (GB of float16)", seconds, self.gigabytes, "GB", references)


@contextmanager
def fsync_is(on: bool) -> Iterator[None]:
    """With `on` False, os.fsync does nothing, so that cases are comparable."""
    real = os.fsync
    os.fsync = real if on else lambda descriptor: None
    try:
        yield
    finally:
        os.fsync = real


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path, help="a float16 store to take the values of")
    parser.add_argument("--images", type=int, default=4096)
    parser.add_argument("--patches", type=int, default=49)
    parser.add_argument("--d-model", type=int, default=768)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--scratch", type=Path, help="folder for the files; default: temporary")
    parser.add_argument("--only", nargs="*", choices=PARTS, default=PARTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    zarr.config.set({"threading.max_workers": 1})
    scratch = Path(tempfile.mkdtemp(dir=options.scratch))
    try:
        bench = Bench(options, scratch)
        print(machine(["numpy", "zarr", "numcodecs", "google-crc32c", "torch"]))
        print(
            f"{bench.layout.n_images} images of {1 + bench.layout.n_patches} x "
            f"{bench.layout.d_model} float16 ({bench.gigabytes:.2f} GB), chunks of {bench.rows} "
            f"images, {bench.layout.n_ranges} shards per array; {options.rounds} interleaved "
            "rounds, median (min-max); ratios are per round, more is faster"
        )
        bench.make_files()
        for part in options.only:
            getattr(bench, part)()
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
