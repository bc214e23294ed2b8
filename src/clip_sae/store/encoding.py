"""Numbers in and out of a store: guarded casts, bfloat16 as bits, and back to float32.

Residuals of CLIP have massive dimensions; float16 ends at 65,504, so nothing is cast unchecked.
"""

import struct
import sys
import threading

import numpy as np

from .layout import DISK_DTYPES

# Largest magnitude that may be stored. float16: well before 65,504, since a model that comes this
# close will pass it on other images. The others end where their own dtype does.
LIMITS = {
    "float16": 6.0e4,
    "bfloat16": 3.3e38,
    "float32": float(np.finfo(np.float32).max),
}
ACCEPTED = {
    "float16": ("float16", "float32"),
    "bfloat16": ("uint16", "float32"),
    "float32": ("float32", "float16"),
}
# Values to work on at a time: with their float32 copies they stay in the second-level cache
PIECE_VALUES = 2**17
# Fewer values than torch splits over threads: a call from a thread of ours must not start more
_SERIAL_VALUES = 2**15 - 1
# float16 -> float32 moves the exponent bias from 15 to 127
_BIAS_SHIFT = np.float32(2.0**112)


_memory = threading.local()


def scratch(nbytes: int) -> np.ndarray:
    """uint8 [nbytes] of this thread, which its next call hands out again: new pages cost much."""
    if getattr(_memory, "buffer", None) is None or _memory.buffer.nbytes < nbytes:
        _memory.buffer = np.empty(nbytes, np.uint8)
    return _memory.buffer[:nbytes]


def to_float32(array: np.ndarray) -> np.ndarray:
    """Exact float32 values of a stored array: float16, float32, or uint16 bits of bfloat16."""
    if array.dtype == np.float32:
        return array
    out = np.empty(array.shape, np.float32)
    decode(array, out)
    return out


def decode(stored: np.ndarray, out: np.ndarray, *, finite: bool = False) -> None:
    """Write the values of `stored` into the float32 array `out` of the same shape, exactly.

    finite: the caller knows that there is no infinity or NaN; saves two passes over float16.
    """
    if stored.dtype == np.uint16:  # bfloat16 is the upper half of a float32
        np.left_shift(stored, 16, out=out.view(np.uint32), dtype=np.uint32)
    elif stored.dtype != np.float16 or not _keeps_subnormals():
        np.copyto(out, stored)
    elif "torch" in sys.modules and _is_plain(stored) and _is_plain(out):
        _decode_with_torch(stored.reshape(-1), out.reshape(-1))
    elif finite or _is_finite(stored):
        # 4x NumPy's own cast: shift the bits in place (the sign fills up, the mask keeps it), then
        # one exact multiplication mends the exponent, subnormals included.
        bits = out.view(np.int32)
        np.copyto(bits, stored.view(np.int16))
        np.left_shift(bits, 13, out=bits)
        np.bitwise_and(bits, np.int32(-0x70002000), out=bits)  # 0x8fffe000
        np.multiply(out, _BIAS_SHIFT, out=out)
    else:
        np.copyto(out, stored)


def _is_plain(array: np.ndarray) -> bool:
    """Whether torch can look at the array's own memory as one vector."""
    return array.flags.c_contiguous and array.flags.writeable


def _decode_with_torch(stored: np.ndarray, out: np.ndarray) -> None:
    """The processor's own instruction: 3x the route below, and as exact.

    Only where a process has loaded torch anyway: `verify` and `plan` do not wait for it.
    """
    torch = sys.modules["torch"]
    size = len(stored) if torch.get_num_threads() == 1 else _SERIAL_VALUES
    sources = torch.from_numpy(stored).split(max(1, size))
    targets = torch.from_numpy(out).split(max(1, size))
    for source, target in zip(sources, targets, strict=True):
        target.copy_(source)


def _is_finite(stored: np.ndarray) -> bool:
    """Whether float16 values hold neither infinities nor NaN: two passes without a temporary."""
    positive_finite = stored.view(np.int16).max(initial=0) < 0x7C00
    return positive_finite and stored.view(np.uint16).max(initial=0) < 0xFC00


def _keeps_subnormals() -> bool:
    """False if this thread flushes subnormals to zero, as torch can be told to."""
    return np.float32(1e-45) * _BIAS_SHIFT > 0


def absmax_bits(array: np.ndarray) -> int:
    """Bits of the largest magnitude of a 2-byte float array; they order as the magnitudes do.

    As int16 the largest is a positive number, as uint16 a negative one, if there is any. Without
    the sign bit taken off everywhere nothing is written: fresh memory cost more than both passes.
    """
    flat = array.reshape(-1)
    positive = negative = 0
    for lo in range(0, flat.size, PIECE_VALUES):  # the second look then finds it in the cache
        piece = flat[lo : lo + PIECE_VALUES]
        positive = max(positive, int(piece.view(np.int16).max()))
        negative = max(negative, int(piece.view(np.uint16).max()))
    return max(positive, negative & 0x7FFF if negative & 0x8000 else 0)


def absmax(stored: np.ndarray) -> float:
    """Largest magnitude in a stored array; inf or NaN if one is in it."""
    if stored.dtype == np.float32:
        return float(np.maximum(stored.max(initial=0), -stored.min(initial=0)))
    bits = absmax_bits(stored)
    if stored.dtype == np.float16:
        return struct.unpack("<e", struct.pack("<H", bits))[0]
    return struct.unpack("<f", struct.pack("<I", bits << 16))[0]


def absmax_if_fit(values: np.ndarray, dtype: str) -> float | None:
    """Largest magnitude as a store of `dtype` will hold it; None if a value must not go there.

    Rounding keeps the order, so the largest rounded is the rounded largest.
    """
    largest = absmax(values)
    if not largest <= LIMITS[dtype]:  # NaN too
        return None
    if values.dtype == DISK_DTYPES[dtype]:
        return largest
    stored = np.empty(1, DISK_DTYPES[dtype])
    encode(np.array([largest], np.float32), stored)
    return float(to_float32(stored)[0])


def first_bad_value(values: np.ndarray, dtype: str) -> tuple[tuple[int, ...], float]:
    """Index and value of the first entry that must not go into a store of `dtype`."""
    floats = to_float32(values)
    with np.errstate(invalid="ignore"):
        bad = ~(np.abs(floats) <= LIMITS[dtype])
    index = tuple(int(i) for i in np.unravel_index(np.argmax(bad), bad.shape))
    return index, float(floats[index])


def encode(values: np.ndarray, out: np.ndarray) -> None:
    """Cast checked `values` into `out`, an array in the store's own dtype, rounding to nearest."""
    if out.dtype == np.uint16 and values.dtype == np.float32:
        bits = np.ascontiguousarray(values).view(np.uint32)
        rounding = ((bits >> 16) & 1) + np.uint32(0x7FFF)  # to nearest, ties to even
        np.copyto(out, (bits + rounding) >> 16, casting="unsafe")
    else:
        np.copyto(out, values, casting="same_kind")
