"""Along the strength: where a unit starts to steer, and where it has half of its effect.

Steering paper Fig. 5: S grows with the strength and saturates. NumPy only.
"""

import numpy as np


def onset(strengths: np.ndarray, steerability: np.ndarray, gamma: float) -> np.ndarray:
    """Return [unit]: the smallest strength ≥ 0 where S > gamma; NaN where S never is on the grid.

    Linear between grid points. strengths [strength] ascending; steerability [unit, strength].
    """
    return _crossing(*_non_negative(strengths, steerability), gamma)


def half_saturation(strengths: np.ndarray, steerability: np.ndarray, at: float) -> np.ndarray:
    """Return [unit]: the smallest strength ≥ 0 where S reaches half of its value at strength `at`.

    Linear between grid points; `at` must be one of the strengths.
    """
    strengths, values = _non_negative(strengths, steerability)
    column = np.flatnonzero(strengths == at)
    if len(column) != 1:
        raise ValueError(f"half_saturation at strength {at}: the grid has {strengths.tolist()}.")
    return _crossing(strengths, values, values[:, column[0]] / 2)


def _non_negative(strengths, steerability) -> tuple[np.ndarray, np.ndarray]:
    strengths = np.asarray(strengths, dtype=np.float64)
    values = np.asarray(steerability, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != len(strengths) or np.any(np.diff(strengths) <= 0):
        raise ValueError(
            f"steerability is [unit, strength] over ascending strengths; got {values.shape} over "
            f"{strengths.tolist()}."
        )
    return strengths[strengths >= 0], values[:, strengths >= 0]


def _crossing(strengths: np.ndarray, values: np.ndarray, level) -> np.ndarray:
    """First strength at which each row of values exceeds its level, interpolated."""
    if not len(strengths):
        return np.full(len(values), np.nan)
    level = np.broadcast_to(np.asarray(level, dtype=np.float64), len(values))
    above = values > level[:, None]
    first = above.argmax(1)
    rows, before = np.arange(len(values)), np.maximum(first - 1, 0)
    low, high = values[rows, before], values[rows, first]
    share = (level - low) / np.where(first > 0, high - low, 1)
    between = strengths[before] + share * (strengths[first] - strengths[before])
    found = np.where(first > 0, between, strengths[0])
    return np.where(above.any(1), found, np.nan)
