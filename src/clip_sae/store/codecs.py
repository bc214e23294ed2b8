"""The lossless codecs of compressed stores, cheapest first.

An archive option: CLIP residuals are noise in their low bits, so that float16 shrinks by about a
tenth and bfloat16 by a quarter, for a several times slower read (`benchmarks/store.md`). The paper
does not say how activations are kept (§3).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

NONE = "none"
HEADER_BYTES = 16  # of a Blosc buffer; it holds the sizes before and after


@dataclass(frozen=True)
class Codec:
    """Blosc with its settings; the bytes are those of the Zarr v3 codec `blosc`.

    cname: the compressor inside; clevel: 0 ... 9; shuffle: "shuffle" (bytes) or "bitshuffle"
    """

    cname: str
    clevel: int
    shuffle: str

    def metadata(self, itemsize: int) -> dict:
        """Return the entry in `codecs` of a Zarr v3 array of `itemsize` bytes per value."""
        configuration = {
            "typesize": itemsize,
            "cname": self.cname,
            "clevel": self.clevel,
            "shuffle": self.shuffle,
            "blocksize": 0,
        }
        return {"name": "blosc", "configuration": configuration}

    def compress(self, chunk: np.ndarray) -> np.ndarray:
        """Return the compressed bytes of a C-contiguous array, uint8; the same for any threads."""
        return np.frombuffer(self._blosc.encode(chunk), np.uint8)

    def decompress(self, data: np.ndarray, out: np.ndarray) -> None:
        """Fill `out` from compressed bytes (uint8); ValueError if they are not of that size."""
        sizes = np.frombuffer(data[4:HEADER_BYTES].tobytes(), "<u4")
        # Blosc itself believes its header and would read or write past the buffers.
        if len(data) < HEADER_BYTES or (sizes[0], sizes[2]) != (out.nbytes, data.nbytes):
            raise ValueError("its Blosc header has other sizes")
        try:
            self._blosc.decode(data, out.reshape(-1).view(np.uint8))
        except RuntimeError as error:
            raise ValueError(f"Blosc cannot decompress it ({error})") from None

    @cached_property
    def _blosc(self):
        from numcodecs import blosc  # here, so that uncompressed stores do not wait for it

        # Blosc's own threads write their pieces in the order in which they end, so the bytes would
        # differ between runs. zarr-python turns them off too.
        blosc.use_threads = False
        shuffle = {"shuffle": blosc.SHUFFLE, "bitshuffle": blosc.BITSHUFFLE}[self.shuffle]
        return blosc.Blosc(self.cname, self.clevel, shuffle)


CODECS = {
    "lz4": Codec("lz4", 5, "bitshuffle"),
    "zstd": Codec("zstd", 1, "shuffle"),
    "zstd-high": Codec("zstd", 5, "shuffle"),  # Blosc's 5 is zstd's 9; its 9 writes at 7 MB/s
}
COMPRESSIONS = (NONE, *CODECS)


def inner_codecs(compression: str, itemsize: int) -> list[dict]:
    """Return the codecs of a chunk as Zarr v3 metadata; the checksum covers the bytes on disk."""
    packed = [CODECS[compression].metadata(itemsize)] if compression != NONE else []
    little = {"name": "bytes", "configuration": {"endian": "little"}}
    return [little, *packed, {"name": "crc32c"}]


def compression_of(codecs: list, itemsize: int) -> str | None:
    """Return the name of the compression with this metadata, or None for an unknown one."""
    for name in COMPRESSIONS:
        if codecs == inner_codecs(name, itemsize):
            return name
    return None
