"""Casts to and from the dtype of a store: checked for overflow, bfloat16 as its bits.

Residuals of CLIP have massive dimensions; float16 ends at 65,504, so nothing is cast unchecked.
"""

import struct
import sys
import threading
from collections.abc import Callable

import numpy as np

from .errors import ActivationOverflow
from .layout import DISK_DTYPES

# Largest magnitude that may be stored. float16: well below 65,504, since a model that comes this
# close exceeds it on other images. The other dtypes are used up to their own maximum.
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
# Values processed at a time: with their float32 copies they stay in the second-level cache
PIECE_VALUES = 2**17
# Fewer values than torch splits over threads: a call from one of our threads must not start more
_SERIAL_VALUES = 2**15 - 1
# float16 -> float32 moves the exponent bias from 15 to 127
_BIAS_SHIFT = np.float32(2.0**112)


_memory = threading.local()


def scratch(nbytes: int) -> np.ndarray:
    """Return uint8 [nbytes] of this thread; its next call returns the same memory again."""
    if getattr(_memory, "buffer", None) is None or _memory.buffer.nbytes < nbytes:
        _memory.buffer = np.empty(nbytes, np.uint8)
    return _memory.buffer[:nbytes]


def to_float32(array: np.ndarray) -> np.ndarray:
    """Return exact float32 values of a stored array: float16, float32, or bits of bfloat16."""
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
        # one exact multiplication corrects the exponent, subnormals included.
        bits = out.view(np.int32)
        np.copyto(bits, stored.view(np.int16))
        np.left_shift(bits, 13, out=bits)
        np.bitwise_and(bits, np.int32(-0x70002000), out=bits)  # 0x8fffe000
        np.multiply(out, _BIAS_SHIFT, out=out)
    else:
        np.copyto(out, stored)


def _is_plain(array: np.ndarray) -> bool:
    """Return True if torch can view the array's own memory as one vector."""
    return array.flags.c_contiguous and array.flags.writeable


def _decode_with_torch(stored: np.ndarray, out: np.ndarray) -> None:
    """Use the processor's own instruction: 3x as fast as the bit shifts of `decode`, and as exact.

    Only in a process that has loaded torch already: `verify` and `plan` do not wait for it.
    """
    torch = sys.modules["torch"]
    size = len(stored) if torch.get_num_threads() == 1 else _SERIAL_VALUES
    sources = torch.from_numpy(stored).split(max(1, size))
    targets = torch.from_numpy(out).split(max(1, size))
    for source, target in zip(sources, targets, strict=True):
        target.copy_(source)


def _is_finite(stored: np.ndarray) -> bool:
    """Return True if float16 values hold neither infinities nor NaN."""
    positive_finite = stored.view(np.int16).max(initial=0) < 0x7C00
    return positive_finite and stored.view(np.uint16).max(initial=0) < 0xFC00


def _keeps_subnormals() -> bool:
    """Return False if this thread flushes subnormals to zero, which is an option of torch."""
    return np.float32(1e-45) * _BIAS_SHIFT > 0


def absmax_bits(array: np.ndarray) -> int:
    """Return the bits of the largest magnitude of a 2-byte float array.

    Bits order as magnitudes do: the largest int16 is the largest positive number, the largest
    uint16 the largest negative one, if any. Two passes are cheaper than a copy without sign bits.
    """
    flat = array.reshape(-1)
    positive = negative = 0
    for lo in range(0, flat.size, PIECE_VALUES):  # the second pass finds it in the cache
        piece = flat[lo : lo + PIECE_VALUES]
        positive = max(positive, int(piece.view(np.int16).max()))
        negative = max(negative, int(piece.view(np.uint16).max()))
    return max(positive, negative & 0x7FFF if negative & 0x8000 else 0)


def absmax(stored: np.ndarray) -> float:
    """Return the largest magnitude in a stored array; inf or NaN if it holds one."""
    if stored.dtype == np.float32:
        return float(np.maximum(stored.max(initial=0), -stored.min(initial=0)))
    bits = absmax_bits(stored)
    if stored.dtype == np.float16:
        return struct.unpack("<e", struct.pack("<H", bits))[0]
    return struct.unpack("<f", struct.pack("<I", bits << 16))[0]


def absmax_if_fit(values: np.ndarray, dtype: str) -> float | None:
    """Return the largest magnitude as a store of `dtype` holds it; None if a value does not fit.

    Rounding keeps the order, so the largest rounded value is the rounded largest one.
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
    """Return index and value of the first entry that does not fit a store of `dtype`."""
    floats = to_float32(values)
    with np.errstate(invalid="ignore"):
        bad = ~(np.abs(floats) <= LIMITS[dtype])
    index = tuple(int(i) for i in np.unravel_index(np.argmax(bad), bad.shape))
    return index, float(floats[index])


def checked_absmax(values: np.ndarray, dtype: str, name: str, place: Callable[[int], str]) -> float:
    """Return the largest magnitude of `values` [image, ..., d_model] once stored as `dtype`.

    name: of the array; place: describes an image of `values` by its row.
    Raises ActivationOverflow with that description, token and d_model index.
    """
    largest = absmax_if_fit(values, dtype)
    if largest is not None:
        return largest
    (i, *token, d), value = first_bad_value(values, dtype)
    where = f"{name} {token[0]}" if token else name
    if np.isnan(value):
        advice = "The model itself produced it: check the weights, or run it in float32."
    elif dtype == "float16":
        advice = "Set `dtype: bfloat16` for this store and run snakemake again."
    else:
        advice = "Run the model in float32, or check its weights."
    raise ActivationOverflow(
        f"{place(i)}, {where}, d_model index {d} is {value:g}; {dtype} is stored up to "
        f"{LIMITS[dtype]:g}. {advice}"
    )


def encode(values: np.ndarray, out: np.ndarray) -> None:
    """Cast checked `values` into `out`, an array in the store's own dtype, rounding to nearest."""
    if out.dtype == np.uint16 and values.dtype == np.float32:
        bits = np.ascontiguousarray(values).view(np.uint32)
        rounding = ((bits >> 16) & 1) + np.uint32(0x7FFF)  # to nearest, ties to even
        np.copyto(out, (bits + rounding) >> 16, casting="unsafe")
    else:
        np.copyto(out, values, casting="same_kind")
