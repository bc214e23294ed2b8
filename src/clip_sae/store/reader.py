"""Read activations: whole images by row, verified, straight from the shard files (§3-§7)."""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from .errors import StoreDamaged, StoreError, StoreIncomplete
from .files import COMPLETE, SPEC, canonical_json, check_seal, digest, read_json
from .hierarchy import read_hierarchy, read_source_index
from .parts import (
    ArrayStats,
    as_spans,
    finished_ranges,
    merge_stats,
    part_path,
    recorded_crc32c,
)
from .shard_file import REPAIR, ShardReader, shard_reader
from .windows import Chunk

MAX_OPEN_SHARDS = 64  # file handles per store; a process may read a dozen stores within 1,024
TOKENS = ("all", "cls", "patch", "prompt")


class ActivationStore:
    """A finished store, read only; safe to use from several threads.

    verify: check the crc32c of each chunk at its first read by this object. Later reads skip the
        check, so that only the first epoch pays for it.

    Raises StoreIncomplete without COMPLETE.json (says which ranges are missing), StoreDamaged
    with file and chunk if anything on disk is not as written.
    """

    def __init__(self, path: Path, *, verify: bool = True) -> None:
        self.path, self._verify = Path(path), verify
        if not (self.path / SPEC).exists():
            raise StoreIncomplete(
                f"{self.path} holds no activation store. {_neighbours(self.path)}"
            )
        self.spec: dict = read_json(self.path / SPEC)
        self._spec_digest = digest(canonical_json(self.spec))
        if not (self.path / COMPLETE).exists():
            raise StoreIncomplete(self._unfinished_message())
        self.layout, self.attributes = read_hierarchy(self.path)
        self.source_index = read_source_index(self.path, self.layout.n_images)
        self._document = read_json(self.path / COMPLETE)
        try:
            check_seal(self.path / COMPLETE, self._document)
        except StoreDamaged as error:
            raise StoreDamaged(f"{error} {REPAIR}") from None
        if self._document["spec_digest"] != self._spec_digest:
            raise StoreError(
                f"{self.path / COMPLETE} has another spec than spec.json next to it. Delete "
                f"{self.path} and run snakemake again."
            )
        self._verified = {
            name: np.full(array.n_chunks, not verify) for name, array in self.layout.arrays.items()
        }
        self._recorded: dict[int, dict[str, list[int]]] = {}
        self._shards: OrderedDict[tuple[str, int], ShardReader] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def n_images(self) -> int:
        return self.layout.n_images

    @property
    def n_patches(self) -> int:
        return self.layout.n_patches

    @property
    def n_tokens(self) -> int:
        """Tokens of an image that an SAE reads: CLS and patches, without learned prompts."""
        return 1 + self.layout.n_patches

    @property
    def d_model(self) -> int:
        return self.layout.d_model

    @property
    def dtype(self) -> str:
        """ "float16", "bfloat16" (read as uint16 bits) or "float32"."""
        return self.layout.dtype

    @property
    def disk_dtype(self) -> np.dtype:
        """NumPy dtype of the arrays that `read` returns."""
        return self.layout.arrays["cls"].disk_dtype

    @property
    def fingerprints(self) -> dict[str, str]:
        """Fingerprints of the inputs of the store."""
        return self._document.get("fingerprints") or {}

    @property
    def stats(self) -> dict[str, ArrayStats]:
        """Sums, mean and largest magnitude per array ("cls", "patch")."""
        return merge_stats([self._document])

    def token_shape(self, tokens: str) -> tuple[int, ...]:
        """Return the shape of one image for a choice of tokens: [token, d_model]."""
        counts = {"all": self.n_tokens, "cls": 1, "patch": self.n_patches}
        counts["prompt"] = self.layout.n_prompts
        if not counts.get(tokens):
            exist = [name for name in TOKENS if counts[name]]
            raise StoreError(f"{self.path} has no tokens {tokens!r}; choose one of {exist}.")
        return counts[tokens], self.d_model

    def read(
        self, start: int, stop: int, tokens: str = "all", out: np.ndarray | None = None
    ) -> np.ndarray:
        """Return images start to stop as [image, token, d_model] in the dtype on disk.

        tokens: "all" (CLS first, then patches row by row), "cls", "patch", or "prompt".
        out: C-contiguous array of that shape and dtype to fill instead of a new one.
        `to_float32` gives the values of any dtype.
        """
        self._check_rows(start, stop)
        shape = (stop - start, *self.token_shape(tokens))
        if out is None:
            out = np.empty(shape, self.disk_dtype)
        elif out.shape != shape or out.dtype != self.disk_dtype or not out.flags.c_contiguous:
            raise StoreError(
                f"out is {out.dtype} {list(out.shape)}; it must be C-contiguous {self.disk_dtype} "
                f"{list(shape)}."
            )
        if tokens == "all":
            out[:, 0] = self.read_array("cls", start, stop)
            size = self.layout.chunk_images  # by chunks, since a small buffer stays in the cache
            for first in range(start - start % size, stop, size):
                lo, hi = max(first, start), min(first + size, stop)
                out[lo - start : hi - start, 1:] = self.read_array("patch", lo, hi)
        else:
            self.read_array(tokens, start, stop, out)
        return out

    def read_array(
        self, name: str, start: int, stop: int, out: np.ndarray | None = None
    ) -> np.ndarray:
        """Return rows as on disk: "cls" [image, d_model] or "patch" [image, patch, d_model].

        out: any C-contiguous array of as many elements; only `read` checks it.
        """
        array = self.layout.arrays[name]
        if out is None:
            out = np.empty((stop - start, *array.row_shape), array.disk_dtype)
        assert out.flags.c_contiguous and out.dtype == array.disk_dtype
        rows = out.reshape(stop - start, *array.row_shape)
        size = self.layout.shard_images
        for k in range(start // size, -(-stop // size) if stop > start else 0):
            lo, hi = max(start, k * size), min(stop, (k + 1) * size)
            first_chunk = k * array.chunks_per_shard
            verified = self._verified[name][first_chunk : first_chunk + array.chunks_per_shard]
            shard = self._shard(name, k)
            shard.read(lo - k * size, hi - k * size, rows[lo - start : hi - start], verified)
        return out

    def read_chunks(self, chunks: Sequence[Chunk]) -> Iterator[None]:
        """Fill the memory of the chunks, one per step, for a `TokenStream`."""
        for chunk in chunks:
            for name, rows in chunk.arrays.items():
                self.read_array(name, chunk.start, chunk.stop, rows)
            yield

    def _shard(self, name: str, k: int) -> ShardReader:
        """Return an open shard file; close the least recently used one if there are too many."""
        with self._lock:
            shard = self._shards.pop((name, k), None)
            shard = shard or self._open_shard(name, k)
            self._shards[name, k] = shard
            if len(self._shards) > MAX_OPEN_SHARDS:
                self._shards.popitem(last=False)
            return shard

    def _open_shard(self, name: str, k: int) -> ShardReader:
        """Open a shard file; with `verify`, its chunks are checked against the part file too."""
        recorded = None
        if self._verify:
            if k not in self._recorded:
                self._recorded[k] = recorded_crc32c(self.path, k)
            recorded = self._recorded[k].get(name, [])
        return shard_reader(self.path, self.layout.arrays[name], k, recorded)

    def _check_rows(self, start: int, stop: int) -> None:
        if not 0 <= start <= stop <= self.n_images:
            raise StoreError(
                f"{self.path}: image rows {start} to {stop - 1} were requested; it has rows 0 to "
                f"{self.n_images - 1}."
            )

    def _unfinished_message(self) -> str:
        if not part_path(self.path, 0).parent.exists():
            state = "no range is written"
        else:
            layout, _ = read_hierarchy(self.path)
            done = finished_ranges(self.path, layout, self._spec_digest)
            missing = [k for k in range(layout.n_ranges) if k not in {*done}]
            state = f"{len(done)} of {layout.n_ranges} ranges are written"
            state += f" (missing: {as_spans(missing)})" if missing else ", the last check is not"
        return (
            f"{self.path} is not finished: {state}, and there is no {COMPLETE}. Run snakemake "
            "again; it continues with the missing ranges."
        )


def _neighbours(path: Path) -> str:
    """Return a sentence with the stores next to a path that holds none."""
    parent = path.parent
    found = sorted(spec.parent.name for spec in parent.glob(f"*/{SPEC}"))
    return f"Stores in {parent}: {', '.join(found) if found else 'none'}."
