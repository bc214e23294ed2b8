"""SAE recipes: the sections of the config that name SAEs, as checked, frozen dataclasses.

Steering paper §3 and App. 10 (Eq. 3, hyper-parameters), PatchSAE §3. The keys that all SAEs share
are fields here; the others belong to `clip_sae.architectures`, which is imported by name because it
stands above this package. No torch: the Snakefile reads every SAE's path from here.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from typing import Any

from clip_sae.planning.recipe_values import (
    BETAS,
    COUNT,
    NOT_NEGATIVE,
    POSITIVE,
    WHOLE,
    RecipeError,
    RecipeKey,
    check_value,
    choice,
    key,
    keys_of,
    suggestion,
)

# `standard` values are the field's; `prisma_compat` values are the defaults of the steering paper's
# code, `patchsae` those of PatchSAE's: it calls a latent dead that was silent for 64 batches.
FORM_DEFAULTS = {
    "standard": {},
    "prisma_compat": {
        "lr": 1e-3,
        "ghost_grads": True,
        "aux_k": None,
        "dead_window_tokens": 5_000 * 4_096,
    },
    "patchsae": {"ghost_grads": True, "dead_window_tokens": 64 * 128 * 197},
}


@dataclass(frozen=True, kw_only=True)
class SaeRecipe:
    """All that decides the weights of one SAE, given the tokens it is trained on.

    `own` is the architecture with its keys; they can be read from the recipe as well, where a key
    of another architecture reads as None. `d_sae` = `expansion_factor` x d_model. `lr` and
    `l1_coefficient` are in the units of `form` (Eq. 3).
    """

    own: Any  # a clip_sae.architectures.SaeArchitecture
    architecture: str = key(choice(), "how latents are chosen", example="topk", sweeps=True)
    expansion_factor: int = key(COUNT, "d_sae / d_model", example=64)
    form: str = key(
        choice(*FORM_DEFAULTS),
        "the field's loss, or that of the steering paper's own code, or of PatchSAE's",
        default="standard",
        sweeps=False,
    )
    lr: float = key(POSITIVE, "peak learning rate of Adam", default=4e-4)
    batch_tokens: int = key(COUNT, "tokens per step", default=4096, one_pass=True)
    epochs: float = key(POSITIVE, "passes over the store", default=1.0, one_pass=True)
    warmup_steps: int = key(WHOLE, "linear warm-up of the learning rate, steps", default=200)
    lr_schedule: str = key(choice("cosine", "constant"), "after the warm-up", default="cosine")
    input_norm: str = key(
        choice("none", "layer_norm"),
        "normalisation of each token before the encoder",
        default="layer_norm",
    )
    aux_k_coefficient: float = key(NOT_NEGATIVE, "weight of AuxK", default=1 / 32)  # Gao et al.
    dead_window_tokens: int = key(
        COUNT, "a latent silent for more tokens is dead", default=10_000_000
    )
    clip_norm: float | None = key(
        POSITIVE.or_null(" for no clipping"), "limit of the gradient's norm", default=1.0
    )
    seed: int = key(WHOLE, "seed of the initial weights", default=0)
    data_seed: int = key(WHOLE, "seed of the order of tokens", default=0, one_pass=True)
    tokens: str = key(
        choice("all", "cls", "patch"),
        "tokens that the SAE is trained on",
        default="all",
        one_pass=True,
    )
    b_dec_init: str = key(
        choice("geometric_median", "mean", "zeros"), "start of b_dec", default="geometric_median"
    )
    init_tokens: int = key(
        COUNT, "tokens that the start of b_dec is computed from", default=32_768, sweeps=False
    )
    adam_betas: tuple[float, float] = key(BETAS, "decay rates of Adam", default=(0.9, 0.999))

    @classmethod
    def from_config(cls, name: str, section: dict) -> list[tuple[str, SaeRecipe]]:
        """Return [(variant, recipe)]: the product of the section's lists, in its order of keys.

        `section` is the recipe without `hook`, `layers` and `dataset`. The variant is "base" for a
        section without lists, else e.g. "l1_coefficient-0.0001_seed-1", safe in a path.
        Raises RecipeError naming the recipe, the key and what to write instead.
        """
        if not isinstance(section, dict):
            raise RecipeError(
                f"recipe {name!r}: expected keys such as `architecture: topk`, got {section!r}."
            )
        keys = recipe_keys()
        _check_keys(name, section, keys)
        swept = [word for word, value in section.items() if _is_sweep(name, word, value, keys)]
        if "architecture" in swept:
            return _of_architectures(name, section, keys)
        variants = []
        for values in itertools.product(*(section[word] for word in swept)):
            chosen = dict(zip(swept, values, strict=True))
            recipe = cls._of(_complete(name, {**section, **chosen}, keys))
            for mistake in recipe.own.mistakes(recipe.form):
                raise RecipeError(f"recipe {name!r}: {mistake}")
            variants.append((_variant_name(chosen), recipe))
        return variants

    @classmethod
    def from_dict(cls, plain: dict) -> SaeRecipe:
        """Return the recipe that `to_dict` wrote."""
        return cls._of({k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()})

    @classmethod
    def _of(cls, values: dict) -> SaeRecipe:
        kind = architectures()[values["architecture"]]
        own = {word: values[word] for word in keys_of(kind) if word in values}
        return cls(own=kind(**own), **{k: v for k, v in values.items() if k not in own})

    def __getattr__(self, word: str) -> object:
        if word == "own" or word.startswith("_"):  # while a copy has no fields yet
            raise AttributeError(word)
        if hasattr(self.own, word):
            return getattr(self.own, word)
        if word in recipe_keys():
            return None
        raise AttributeError(f"a recipe has no key {word!r}")

    def d_sae(self, d_model: int) -> int:
        """Number of latents on tokens of width `d_model`."""
        return self.expansion_factor * d_model

    def aux_latents(self, d_model: int) -> int:
        """Number of dead latents in the AuxK term, 0 without one."""
        aux_k = getattr(self.own, "aux_k", None)
        if aux_k == "auto":
            return max(1, d_model // 2)  # Gao et al. 2024: a power of two near d_model / 2
        return aux_k or 0

    def check_width(self, name: str, d_model: int) -> None:
        """Raise RecipeError if a number of latents exceeds `d_sae` for this `d_model`."""
        d_sae = self.d_sae(d_model)
        counts = {w: getattr(self.own, w) for w, k in keys_of(type(self.own)).items() if k.latents}
        for word, value in {**counts, "aux_k": self.aux_latents(d_model)}.items():
            if value is not None and value > d_sae:
                raise RecipeError(
                    f"recipe {name!r}: {word} is {value}, but the SAE has only {d_sae} latents "
                    f"(expansion_factor {self.expansion_factor} x d_model {d_model}). "
                    f"Write {word} <= {d_sae} or raise expansion_factor."
                )

    def total_steps(self, n_batches: int) -> int:
        """Number of optimiser steps for `epochs` passes over `n_batches` batches."""
        return max(1, math.ceil(self.epochs * n_batches - 1e-9))

    def to_dict(self) -> dict:
        """Return every key as plain JSON values in a fixed order, for digests.

        Only keys of the SAE's own architecture are among them, so that a new architecture changes
        no digest of the others.
        """
        plain = asdict(self)
        plain |= plain.pop("own")
        listed = {k: list(v) if isinstance(v, tuple) else v for k, v in plain.items()}
        return dict(sorted(listed.items()))


def architectures() -> dict[str, Any]:
    """Return every registered architecture by the config's word for it."""
    return import_module("clip_sae.architectures").architectures()


def recipe_keys() -> dict[str, RecipeKey]:
    """Return every key of every recipe by name: those of all SAEs, then those of architectures."""
    keys = dict(keys_of(SaeRecipe))
    kinds = architectures()
    keys["architecture"] = replace(keys["architecture"], rule=choice(*kinds))
    for kind in kinds.values():
        for word, found in keys_of(kind).items():
            keys.setdefault(word, found)
    return keys


def pass_keys() -> list[str]:
    """Return the keys with one value per recipe, because one pass serves all of its SAEs."""
    return [word for word, found in keys_of(SaeRecipe).items() if found.one_pass]


def can_sweep(word: str) -> bool:
    """Return True if a list under a key trains one SAE per value."""
    found = recipe_keys().get(word)
    return found is not None and found.sweeps


def recipe_schema() -> dict:
    """Return the JSON schema of every recipe key; ranges and unknown words are left to recipes."""
    return {word: _schema_of(word, found) for word, found in recipe_keys().items()}


def _schema_of(word: str, found: RecipeKey) -> dict:
    description = {"description": _meaning(word) or found.help}
    if found.sweeps:  # a list trains one SAE per value, all in one pass over the store
        one = {"type": list(found.rule.types)}
        many = {"type": "array", "minItems": 1, "uniqueItems": True, "items": one}
        return {"anyOf": [one, many], **description}
    if found.rule.choices:
        return {"enum": list(found.rule.choices), **description}
    return {"type": list(found.rule.types), **description}


def key_table() -> str:
    """Return a Markdown table of all keys: architectures, key, values, default and help."""
    lines = ["| architecture | key | value | default | |", "|---|---|---|---|---|"]
    for word, common in recipe_keys().items():
        for names, found in _uses(word) or [("all", common)]:
            default = "required" if found.required else _cell(found.default)
            cells = (names, f"`{word}`", found.rule.expected, default, found.help)
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    return str(list(value)) if isinstance(value, tuple) else _label(value).replace("none", "null")


def _uses(word: str) -> list[tuple[str, RecipeKey]]:
    """Return (names of architectures, key) for each different meaning of a key in them."""
    found: dict[RecipeKey, list[str]] = {}
    for name, kind in architectures().items():
        if word in keys_of(kind):
            found.setdefault(keys_of(kind)[word], []).append(name)
    return [(", ".join(names), key) for key, names in found.items()]


def _meaning(word: str) -> str:
    """Return the help of an architecture's key, with the names of those that have it."""
    named: dict[str, list[str]] = {}
    for names, found in _uses(word):
        named.setdefault(found.help, []).append(names)
    return "; ".join(f"{text} ({', '.join(names)})" for text, names in named.items())


def _of_architectures(
    name: str, section: dict, keys: dict[str, RecipeKey]
) -> list[tuple[str, SaeRecipe]]:
    """Return the variants of a section with a list of architectures: each takes its own keys."""
    variants = []
    kinds = architectures()
    for architecture in section["architecture"]:
        check_value(name, "architecture", keys["architecture"], architecture)
    for word in section:
        if all(word in _foreign(kinds[a], keys) for a in section["architecture"]):
            raise RecipeError(
                f"recipe {name!r}: remove {word}, which none of its architectures "
                f"({', '.join(section['architecture'])}) knows: {_meaning(word)}."
            )
    for architecture in section["architecture"]:
        foreign = _foreign(kinds[architecture], keys)
        own = {word: value for word, value in section.items() if word not in foreign}
        for variant, recipe in SaeRecipe.from_config(name, {**own, "architecture": architecture}):
            rest = "" if variant == "base" else f"_{variant}"
            variants.append((f"architecture-{architecture}{rest}", recipe))
    return variants


def _foreign(kind: type, keys: dict[str, RecipeKey]) -> list[str]:
    """Return the keys that only other architectures know."""
    known = keys_of(SaeRecipe) | keys_of(kind)
    return [word for word in keys if word not in known]


def _check_keys(name: str, section: dict, keys: dict[str, RecipeKey]) -> None:
    for word in section:
        if word not in keys:
            raise RecipeError(
                f"recipe {name!r}: unknown key {word!r}.{suggestion(word, list(keys))} "
                f"Known keys: {', '.join(keys)}."
            )
    for word, found in keys_of(SaeRecipe).items():
        if found.required and word not in section:
            raise RecipeError(
                f"recipe {name!r}: {word} is missing. Write `{word}: {found.example}`."
            )


def _is_sweep(name: str, word: str, value: object, keys: dict[str, RecipeKey]) -> bool:
    if not isinstance(value, list | tuple) or "array" in keys[word].rule.types:
        return False
    if keys[word].one_pass:
        raise RecipeError(
            f"recipe {name!r}: {word} is a list, but all SAEs of a recipe are trained in one pass "
            f"over the store. Write one value, and another recipe for each other {word}."
        )
    if not keys[word].sweeps:
        listed = ", ".join(other for other, found in keys.items() if found.sweeps)
        raise RecipeError(
            f"recipe {name!r}: {word} is a list. Lists are possible for {listed}; "
            f"write one value, and another recipe for each other {word}."
        )
    if not value:
        raise RecipeError(f"recipe {name!r}: {word} is an empty list. Write at least one value.")
    labels = [_label(item) for item in value]
    if len(set(labels)) < len(labels):
        raise RecipeError(f"recipe {name!r}: {word} lists a value twice: {list(value)}.")
    return True


def _complete(name: str, section: dict, keys: dict[str, RecipeKey]) -> dict:
    """Return a section without lists with every value checked and the form's defaults."""
    kind = architectures().get(section["architecture"])
    own = keys_of(kind) if kind else {}
    rules = keys | own  # a key can have another range in another architecture
    values = {word: check_value(name, word, rules[word], v) for word, v in section.items()}
    form = values.setdefault("form", "standard")
    for word, found in own.items():
        if found.required and values.get(word) is None:
            raise RecipeError(
                f"recipe {name!r}: architecture {kind.name} needs {word}: "
                f"{found.help}. Write `{word}: {found.example}`."
            )
    for word in _foreign(kind, keys):
        if values.pop(word, None):
            raise RecipeError(
                f"recipe {name!r}: remove {word} from this {kind.name} SAE: {_meaning(word)}."
            )
    if form not in kind.forms:
        others = " or ".join(n for n, other in architectures().items() if form in other.forms)
        raise RecipeError(
            f"recipe {name!r}: form {form} is the paper's code, which has no {kind.name} SAE. "
            f"Remove form, or write architecture: {others}."
        )
    known = keys_of(SaeRecipe) | own
    defaults = {word: v for word, v in FORM_DEFAULTS[form].items() if word in known}
    return {**defaults, **values}


def _variant_name(chosen: dict) -> str:
    return "_".join(f"{word}-{_label(value)}" for word, value in chosen.items()) or "base"


def _label(value: object) -> str:
    """Return a value as it stands in a path: short, and different for different values."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        short = f"{value:g}"
        return (short if float(short) == value else repr(value)).replace("e+", "e")
    return str(value)
