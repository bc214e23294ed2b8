"""Types and ranges of the single values in an SAE recipe, with one-sentence refusals.

Steering paper App. 10 names the keys. Standard library only, like recipes.py.
"""

from __future__ import annotations

import difflib
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass


class RecipeError(ValueError):
    """A recipe in the config that cannot be trained; the message says what to write."""


@dataclass(frozen=True)
class ValueRule:
    """How one key's value is read: `parse` returns the canonical value or None."""

    parse: Callable[[object], object]
    expected: str
    optional: bool = False


def _integer(low: int) -> Callable[[object], object]:
    def parse(value: object) -> object:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return value if whole and value >= low else None

    return parse


def _number(low: float, *, open_low: bool) -> Callable[[object], object]:
    def parse(value: object) -> object:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        fits = value > low if open_low else value >= low
        return float(value) if math.isfinite(value) and fits else None

    return parse


def _choice(*options: str) -> ValueRule:
    return ValueRule(lambda v: v if v in options else None, f"one of {', '.join(options)}")


def _boolean(value: object) -> object:
    return value if isinstance(value, bool) else None


def _aux_k(value: object) -> object:
    return value if value == "auto" else _integer(1)(value)


def _betas(value: object) -> object:
    if not isinstance(value, list | tuple) or len(value) != 2:
        return None
    pair = tuple(_number(0, open_low=False)(beta) for beta in value)
    return pair if all(beta is not None and beta < 1 for beta in pair) else None


def _prefixes(value: object) -> object:
    if not isinstance(value, list | tuple) or not value:
        return None
    shares = tuple(_number(0, open_low=True)(share) for share in value)
    rising = all(a < b for a, b in itertools.pairwise(shares)) if None not in shares else False
    return shares if rising and shares[-1] == 1 else None


_POSITIVE = ValueRule(_number(0, open_low=True), "a number > 0")
_NOT_NEGATIVE = ValueRule(_number(0, open_low=False), "a number >= 0")
_WHOLE = ValueRule(_integer(0), "a whole number >= 0")
_COUNT = ValueRule(_integer(1), "a whole number >= 1")

RULES = {
    "architecture": _choice("vanilla", "topk", "batchtopk", "jumprelu", "gated", "matryoshka"),
    "form": _choice("standard", "prisma_compat", "patchsae"),
    "expansion_factor": _COUNT,
    "k": ValueRule(_integer(1), "a whole number >= 1", optional=True),
    "l1_coefficient": ValueRule(_number(0, open_low=False), "a number >= 0", optional=True),
    "decoder_norm": _choice("unit", "free"),
    "l0_coefficient": ValueRule(_number(0, open_low=False), "a number >= 0", optional=True),
    "target_l0": ValueRule(_number(0, open_low=True), "a number > 0, or null", optional=True),
    "bandwidth": _POSITIVE,
    "initial_threshold": _NOT_NEGATIVE,
    "sparsity_warmup_steps": _WHOLE,
    "prefixes": ValueRule(_prefixes, "ascending shares of d_sae that end with 1, as [0.25, 1.0]"),
    "lr": _POSITIVE,
    "batch_tokens": _COUNT,
    "epochs": _POSITIVE,
    "warmup_steps": _WHOLE,
    "lr_schedule": _choice("cosine", "constant"),
    "input_norm": _choice("none", "layer_norm"),
    "ghost_grads": ValueRule(_boolean, "true or false"),
    "aux_k": ValueRule(_aux_k, "a whole number >= 1, auto, or null for no AuxK", optional=True),
    "aux_k_coefficient": _NOT_NEGATIVE,
    "dead_window_tokens": _COUNT,
    "clip_norm": ValueRule(
        _number(0, open_low=True), "a number > 0, or null for no clipping", optional=True
    ),
    "seed": _WHOLE,
    "data_seed": _WHOLE,
    "tokens": _choice("all", "cls", "patch"),
    "b_dec_init": _choice("geometric_median", "mean", "zeros"),
    "init_tokens": _COUNT,
    "adam_betas": ValueRule(_betas, "two numbers in [0, 1), as in [0.9, 0.999]"),
}


def check_value(name: str, key: str, value: object) -> object:
    """Return `value` in its canonical type, or raise RecipeError saying what was expected."""
    rule = RULES[key]
    if value is None and rule.optional:
        return None
    parsed = rule.parse(value)
    if parsed is None:
        raise RecipeError(
            f"recipe {name!r}: {key} is {value!r} ({type(value).__name__}); "
            f"expected {rule.expected}.{_hint(value, rule)}"
        )
    return parsed


def suggestion(key: str, known: list[str]) -> str:
    """' Did you mean …?' for a misspelt key, else an empty string."""
    close = difflib.get_close_matches(str(key), known, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def _hint(value: object, rule: ValueRule) -> str:
    if not isinstance(value, str):
        return ""
    try:
        number = float(value)
    except ValueError:
        return ""
    if rule.parse(number) is None and rule.parse(int(number) if number % 1 == 0 else None) is None:
        return ""
    # YAML 1.1 reads 1e-3 as a string: a float needs its decimal point there.
    text = f"{number:.1e}" if "e" in value.lower() else f"{number:g}"
    return f" YAML read it as a string: write {text} without quotes, with a decimal point."
