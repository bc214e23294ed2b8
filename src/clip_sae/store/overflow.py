"""Refusing values that are not finite or do not fit a dtype, with the place of the first one.

Residuals of CLIP have massive dimensions, and float16 ends at 65,504; no equation of its own.
"""

from collections.abc import Callable

import numpy as np

from .encoding import LIMITS, absmax_if_fit, first_bad_value
from .errors import ActivationOverflow


def checked_absmax(values: np.ndarray, dtype: str, name: str, place: Callable[[int], str]) -> float:
    """Largest magnitude of `values` [image, ..., d_model] as a store of `dtype` holds them.

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
