"""Casts and range checks, compared with NumPy's own."""

import sys

import numpy as np
import pytest
import torch  # noqa: F401 - decoding goes another way where it is loaded

from clip_sae.store import ArrayStats
from clip_sae.store.encoding import absmax, absmax_if_fit, encode, first_bad_value, to_float32
from clip_sae.store.parts import image_sums

ALL_HALVES = np.arange(65536, dtype=np.uint16).view(np.float16)
FINITE_HALVES = ALL_HALVES[np.isfinite(ALL_HALVES)]


@pytest.mark.parametrize("loaded", [True, False], ids=["with torch", "without torch"])
@pytest.mark.parametrize("halves", [ALL_HALVES, FINITE_HALVES], ids=["all", "finite"])
def test_float16_to_float32_is_exact_for_every_value(halves, loaded, monkeypatch):
    if not loaded:
        monkeypatch.delitem(sys.modules, "torch")
    with np.errstate(invalid="ignore"):
        expected = halves.astype(np.float32)
    got = to_float32(halves)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, expected)
    signed = ~np.isnan(expected)  # no store holds a NaN, and its sign is arbitrary
    np.testing.assert_array_equal(np.signbit(got)[signed], np.signbit(expected)[signed])


def test_bfloat16_round_trip_and_rounding():
    bits = np.arange(65536, dtype=np.uint16)
    bits = bits[np.isfinite(to_float32(bits))]
    again = np.empty_like(bits)
    encode(to_float32(bits), again)
    np.testing.assert_array_equal(again, bits)
    x = np.float32([1, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20])  # two ties, one above
    out = np.empty(4, np.uint16)
    encode(x, out)
    np.testing.assert_array_equal(to_float32(out), np.float32([1, 1, 1 + 2**-6, 1 + 2**-7]))


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_absmax_and_first_bad_value(dtype):
    x = np.linspace(-3, 2, 24, dtype=dtype).reshape(2, 3, 4)
    assert absmax(x) == 3
    assert absmax_if_fit(x, "float16") == 3
    for bad in (61000, -61000, np.inf, np.nan):
        y = x.copy()
        y[1, 2, 3] = y[1, 2, 1] = bad
        assert absmax_if_fit(y, "float16") is None
        index, value = first_bad_value(y, "float16")
        assert index == (1, 2, 1)
        np.testing.assert_equal(value, float(y.dtype.type(bad)))


def test_empty_arrays_are_fine():
    assert absmax_if_fit(np.empty((0, 3), np.float32), "float16") == 0
    assert to_float32(np.empty((0, 3), np.float16)).shape == (0, 3)


@pytest.mark.parametrize("shape", [(9, 49, 768), (64, 768), (1, 3, 4)])
def test_sums_by_pieces_are_those_of_the_whole(shape):
    stored = np.random.default_rng(0).normal(size=shape).astype(np.float16)
    stats = ArrayStats.empty(shape[-1])
    sums, squares = np.empty((2, len(stored), shape[-1]), np.float32)
    image_sums(stored, sums, squares)
    stats.add(sums, squares, stored[0, ..., 0].size, absmax(stored))
    values = to_float32(stored).reshape(len(stored), -1, shape[-1])
    values64 = values.astype(np.float64)
    np.testing.assert_allclose(stats.total, values64.sum(axis=(0, 1)), atol=2e-6 * values.size**0.5)
    np.testing.assert_allclose(stats.sumsq, np.square(values64).sum(axis=(0, 1)), rtol=1e-6)
    assert stats.absmax == np.abs(values).max() and stats.count == values.size // shape[-1]
