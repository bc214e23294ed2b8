"""Numbers in and out of a store: guarded casts, bfloat16 as bits, and back to float32.

Residuals of CLIP have massive dimensions; float16 ends at 65,504, so nothing is cast unchecked.
"""

import numpy as np

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
# float16 -> float32 moves the exponent bias from 15 to 127
_BIAS_SHIFT = np.float32(2.0**112)


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
    elif stored.dtype == np.float16 and _keeps_subnormals() and (finite or _is_finite(stored)):
        # 4x NumPy's own cast: shift the bits in place (the sign fills up, the mask keeps it), then
        # one exact multiplication mends the exponent, subnormals included.
        bits = out.view(np.int32)
        np.copyto(bits, stored.view(np.int16))
        np.left_shift(bits, 13, out=bits)
        np.bitwise_and(bits, np.int32(-0x70002000), out=bits)  # 0x8fffe000
        np.multiply(out, _BIAS_SHIFT, out=out)
    else:
        np.copyto(out, stored)


def _is_finite(stored: np.ndarray) -> bool:
    """Whether float16 values hold neither infinities nor NaN: two passes without a temporary."""
    positive_finite = stored.view(np.int16).max(initial=0) < 0x7C00
    return positive_finite and stored.view(np.uint16).max(initial=0) < 0xFC00


def _keeps_subnormals() -> bool:
    """False if this thread flushes subnormals to zero, as torch can be told to."""
    return np.float32(1e-45) * _BIAS_SHIFT > 0


def absmax_bits(array: np.ndarray) -> int:
    """Bits of the largest magnitude of a 2-byte float array; they order as the magnitudes do."""
    return int(np.bitwise_and(array.view(np.uint16), 0x7FFF).max(initial=0))


def absmax(stored: np.ndarray) -> float:
    """Largest magnitude in a stored array; inf or NaN if one is in it."""
    if stored.dtype == np.float32:
        return float(np.maximum(stored.max(initial=0), -stored.min(initial=0)))
    bits = np.array([absmax_bits(stored)], np.uint16)
    return float(to_float32(bits.view(stored.dtype))[0])


def first_bad_value(values: np.ndarray, dtype: str) -> tuple[tuple[int, ...], float] | None:
    """Index and value of the first entry that must not go into a store of `dtype`, or None."""
    if absmax(values) <= LIMITS[dtype]:  # False for NaN too
        return None
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
