"""`parts/NNNNN.json`: proof that a range of images is completely on disk, written after its shards.

A missing shard reads as NaN in every Zarr library, so readers rely on these files alone. They also
hold sums, from which mean and scale of the activations follow without another pass.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .encoding import decode, scratch
from .errors import StoreDamaged, writing
from .files import (
    ACTS,
    COMPLETE,
    canonical_json,
    check_seal,
    read_json,
    sealed,
    sync,
    write_whole,
)
from .layout import StoreLayout
from .shard_file import ShardWriter

# Values summed at a time. If another thread runs Python too, a NumPy call costs up to 15 us for
# passing on the interpreter: fewer calls outweigh the cache (measured: 2^17 to 2^21)
SUM_VALUES = 2**19
FILES = '"files":'
# The keys of a part file before it had a seal
UNSEALED_PART = {"part", "images", "spec_sha256", "files", "stats"}


@dataclass
class ArrayStats:
    """Sums over tokens of one array, in float64, of the values as they are stored.

    count: tokens seen; total, sumsq: sum of values and of squares, [d_model]; absmax: max |x|
    """

    count: int
    total: np.ndarray
    sumsq: np.ndarray
    absmax: float

    @classmethod
    def empty(cls, d_model: int) -> "ArrayStats":
        return cls(0, np.zeros(d_model), np.zeros(d_model), 0.0)

    @property
    def mean(self) -> np.ndarray:
        """Mean over tokens, [d_model]."""
        return self.total / self.count

    @property
    def variance(self) -> np.ndarray:
        """Variance over tokens (divided by count), [d_model]."""
        return self.sumsq / self.count - self.mean**2

    def add(self, sums: np.ndarray, squares: np.ndarray, n_tokens: int, largest: float) -> None:
        """Add the sums of images, [image, d_model], of `n_tokens` tokens each.

        Chunks fix the order, so the totals do not depend on the caller's batches.
        """
        self.count += len(sums) * n_tokens
        self.absmax = max(self.absmax, largest)
        self.total += sums.sum(axis=0, dtype=np.float64)
        self.sumsq += squares.sum(axis=0, dtype=np.float64)

    def merge(self, other: "ArrayStats") -> "ArrayStats":
        return ArrayStats(
            self.count + other.count,
            self.total + other.total,
            self.sumsq + other.sumsq,
            max(self.absmax, other.absmax),
        )

    def to_dict(self) -> dict:
        return {
            "count": self.count,
            "sum": self.total.tolist(),
            "sumsq": self.sumsq.tolist(),
            "absmax": self.absmax,
        }

    @classmethod
    def from_dict(cls, values: dict) -> "ArrayStats":
        return cls(
            values["count"], np.array(values["sum"]), np.array(values["sumsq"]), values["absmax"]
        )


def image_sums(
    stored: np.ndarray, sums: np.ndarray, squares: np.ndarray, *, finite: bool = False
) -> None:
    """Write sums over each image's tokens, of values and squares, into float32 [image, d_model].

    stored: [image, ..., d_model] in the dtype on disk; finite: as in `decode`
    float32 within an image, float64 over images: fast, and good to about 1e-6.
    """
    stored = stored.reshape(len(stored), -1, stored.shape[-1])
    _, n_tokens, d_model = stored.shape
    step = max(1, SUM_VALUES // (n_tokens * d_model))
    memory = scratch(4 * step * n_tokens * d_model).view(np.float32)
    memory = memory.reshape(step, n_tokens, d_model)
    ones = np.ones((1, n_tokens), np.float32)
    for lo in range(0, len(stored), step):
        piece = stored[lo : lo + step]
        values = memory[: len(piece)]
        decode(piece, values, finite=finite)
        np.matmul(ones, values, out=sums[lo : lo + step, None])  # 1.4x a reduction
        np.square(values, out=values)
        np.matmul(ones, values, out=squares[lo : lo + step, None])


def part_path(store: Path, k: int) -> Path:
    return store / "parts" / f"{k:05d}.json"


def write_part(
    store: Path,
    layout: StoreLayout,
    k: int,
    spec_digest: str,
    shards: dict[str, ShardWriter],
    stats: dict[str, ArrayStats],
) -> None:
    """Declare range `k` finished. No times or hosts, so a rerun gives the same bytes."""
    files = [
        {
            "array": name,
            "path": array.shard_file(k),
            "size": shards[name].nbytes,
            "chunk_crc32c": shards[name].chunk_crc32c,
        }
        for name, array in layout.arrays.items()
    ]
    part = {
        "part": k,
        "images": list(layout.range_bounds(k)),
        "spec_sha256": spec_digest,
        "files": files,
        "stats": {name: sums.to_dict() for name, sums in stats.items()},
    }
    write_whole(store, part_path(store, k), canonical_json(sealed(part)))


def withdraw(store: Path, k: int) -> None:
    """Declare range `k` and the store unfinished, so that the next run writes the range again."""
    for path in (store / COMPLETE, part_path(store, k)):
        with writing(path):
            path.unlink(missing_ok=True)
            if path.parent.exists():
                sync(path.parent)


def recorded_crc32c(store: Path, k: int) -> dict[str, list[int]]:
    """Return {array: crc32c of its chunks} of range `k`, as the part file has them.

    Parses that list alone: the sums next to it take a hundred times as long. A damaged number in
    the list can make a chunk look damaged, but never a damaged chunk look whole.
    """
    path = part_path(store, k)
    try:
        text = path.read_text()
        files, _ = json.JSONDecoder().raw_decode(text, text.index("[", text.index(FILES)))
        return {entry["array"]: entry["chunk_crc32c"] for entry in files}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreDamaged(f"{path} does not list its chunks ({error}).") from None


def read_part(store: Path, layout: StoreLayout, k: int, spec_digest: str) -> dict:
    """Return the part file of range `k`; StoreDamaged if missing or of another store."""
    path = part_path(store, k)
    part = read_json(path)
    check_seal(path, part, UNSEALED_PART)
    expected = {"part": k, "images": list(layout.range_bounds(k)), "spec_sha256": spec_digest}
    for key, value in expected.items():
        if part.get(key) != value:
            raise StoreDamaged(f"{path}: {key} is {part.get(key)!r} instead of {value!r}.")
    try:
        covered = {entry["array"] for entry in part["files"] if int(entry["size"]) > 0}
        covered &= {*part["stats"]}
    except (KeyError, TypeError, ValueError):
        covered = set()
    if covered != {*layout.arrays}:
        raise StoreDamaged(f"{path} does not cover the arrays {[*layout.arrays]}.")
    return part


def part_nbytes(part: dict) -> int:
    """Bytes of the shard files that a part file records."""
    return sum(entry["size"] for entry in part["files"])


def is_finished(store: Path, layout: StoreLayout, k: int, spec_digest: str) -> bool:
    """Return True if range `k` has a part file of this spec and shard files of the right size."""
    if not part_path(store, k).exists():
        return False
    try:
        part = read_part(store, layout, k, spec_digest)
    except StoreDamaged:
        return False
    for entry in part["files"]:
        shard = store / ACTS / layout.arrays[entry["array"]].shard_file(k)
        if not shard.exists() or shard.stat().st_size != entry["size"]:
            return False
    return True


def finished_ranges(store: Path, layout: StoreLayout, spec_digest: str) -> list[int]:
    return [k for k in range(layout.n_ranges) if is_finished(store, layout, k, spec_digest)]


def parts_bytes(store: Path, layout: StoreLayout) -> bytes:
    """Return all part files joined; COMPLETE.json holds their digest."""
    return b"".join(part_path(store, k).read_bytes() for k in range(layout.n_ranges))


def merge_stats(parts: list[dict]) -> dict[str, ArrayStats]:
    """Return the sums over several parts, added in the given order."""
    merged: dict[str, ArrayStats] = {}
    for part in parts:
        for name, values in part["stats"].items():
            stats = ArrayStats.from_dict(values)
            merged[name] = merged[name].merge(stats) if name in merged else stats
    return merged


def as_spans(ranges: list[int]) -> str:
    """Return [0, 1, 2, 5] as "0-2, 5", for messages."""
    spans: list[list[int]] = []
    for k in ranges:
        if spans and spans[-1][1] == k - 1:
            spans[-1][1] = k
        else:
            spans.append([k, k])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in spans) or "none"
