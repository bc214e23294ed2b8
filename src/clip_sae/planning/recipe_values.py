"""Keys of SAE recipes: type and range of one value, its default, and one line of help.

Steering paper App. 10 names the keys. A dataclass carries them as the metadata of its fields;
checks, the config's schema and the table of the documentation are made from them. No torch.
"""

from __future__ import annotations

import difflib
import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from types import MappingProxyType


class RecipeError(ValueError):
    """A recipe in the config that cannot be trained; the message says what to write."""


@dataclass(frozen=True)
class ValueRule:
    """Type and range of a value: `parse` returns the canonical value, or None for a wrong one.

    `types` are JSON's names of the types that YAML may give, `choices` the known words.
    """

    parse: Callable[[object], object]
    expected: str
    types: tuple[str, ...]
    choices: tuple[str, ...] = ()
    nullable: bool = False

    def or_null(self, meaning: str = "") -> ValueRule:
        """Return the rule that also takes null, with what null means."""
        expected = f"{self.expected}, or null{meaning}"
        return ValueRule(self.parse, expected, (*self.types, "null"), self.choices, nullable=True)


@dataclass(frozen=True)
class RecipeKey:
    """One key of a recipe.

    `default` is None for a required key, whose `example` error texts show. `sweeps`: a list trains
    one SAE per value. `one_pass`: all SAEs of a recipe share the value. `latents`: the value is a
    number of latents, so that the SAE must have as many.
    """

    rule: ValueRule
    help: str
    default: object
    required: bool
    example: object = None
    sweeps: bool = True
    one_pass: bool = False
    latents: bool = False


def key(
    rule: ValueRule, help: str, *, default: object = MISSING, example: object = None, **facts: bool
) -> object:
    """Return a dataclass field for a key; without a default the key is required."""
    required = default is MISSING
    facts = {"sweeps": "array" not in rule.types and not facts.get("one_pass"), **facts}
    found = RecipeKey(rule, help, None if required else default, required, example, **facts)
    return field(default=default, metadata={"key": found})


@cache
def keys_of(kind: type) -> Mapping[str, RecipeKey]:
    """Return the keys of a dataclass by name, in the order of its fields."""
    found = {item.name: item.metadata["key"] for item in fields(kind) if "key" in item.metadata}
    return MappingProxyType(found)


def integer(low: int) -> ValueRule:
    """Return the rule of whole numbers from `low` on."""

    def parse(value: object) -> object:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return value if whole and value >= low else None

    return ValueRule(parse, f"a whole number >= {low}", ("integer",))


def number(low: float = 0, *, above: bool = False) -> ValueRule:
    """Return the rule of finite numbers from `low` on; `above`: without `low` itself."""

    def parse(value: object) -> object:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        fits = value > low if above else value >= low
        return float(value) if math.isfinite(value) and fits else None

    return ValueRule(parse, f"a number {'>' if above else '>='} {low}", ("number",))


def choice(*options: str) -> ValueRule:
    """Return the rule of one of some words."""
    expected = f"one of {', '.join(options)}"
    return ValueRule(lambda v: v if v in options else None, expected, ("string",), options)


def ascending_shares(value: object) -> object:
    """Return shares in (0, 1] as a tuple if they ascend to 1, else None."""
    if not isinstance(value, list | tuple) or not value:
        return None
    shares = tuple(POSITIVE.parse(share) for share in value)
    rising = all(a < b for a, b in itertools.pairwise(shares)) if None not in shares else False
    return shares if rising and shares[-1] == 1 else None


def _betas(value: object) -> object:
    if not isinstance(value, list | tuple) or len(value) != 2:
        return None
    pair = tuple(NOT_NEGATIVE.parse(beta) for beta in value)
    return pair if all(beta is not None and beta < 1 for beta in pair) else None


POSITIVE, NOT_NEGATIVE = number(above=True), number()
WHOLE, COUNT = integer(0), integer(1)
BOOLEAN = ValueRule(lambda v: v if isinstance(v, bool) else None, "true or false", ("boolean",))
BETAS = ValueRule(_betas, "two numbers in [0, 1), as in [0.9, 0.999]", ("array",))
SHARES = ValueRule(
    ascending_shares, "ascending shares of d_sae that end with 1, as [0.25, 1.0]", ("array",)
)
COUNT_OR_AUTO = ValueRule(
    lambda v: v if v == "auto" else COUNT.parse(v),
    f"{COUNT.expected}, auto",
    ("integer", "string"),
)


def check_value(recipe: str, name: str, key: RecipeKey, value: object) -> object:
    """Return `value` in its canonical type, or raise RecipeError with what was expected."""
    if value is None and (key.rule.nullable or key.required):
        return None
    parsed = key.rule.parse(value)
    if parsed is None:
        raise RecipeError(
            f"recipe {recipe!r}: {name} is {value!r} ({type(value).__name__}); "
            f"expected {key.rule.expected}.{_hint(value, key.rule)}"
        )
    return parsed


def suggestion(name: object, known: list[str] | tuple[str, ...]) -> str:
    """Return ' Did you mean …?' for a misspelt name, else an empty string."""
    close = difflib.get_close_matches(str(name), known, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def _hint(value: object, rule: ValueRule) -> str:
    if not isinstance(value, str):
        return ""
    try:
        number = float(value)
    except ValueError:
        return suggestion(value, rule.choices)
    if rule.parse(number) is None and rule.parse(int(number) if number % 1 == 0 else None) is None:
        return ""
    # YAML 1.1 reads 1e-3 as a string: a float needs its decimal point there.
    text = f"{number:.1e}" if "e" in value.lower() else f"{number:g}"
    return f" YAML read it as a string: write {text} without quotes, with a decimal point."
