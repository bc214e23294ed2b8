"""SAE recipes: the blocks of the config that name SAEs, as checked, frozen dataclasses.

Steering paper §3 and App. 10 (Eq. 3, hyper-parameters), PatchSAE §3. Standard library only: the
Snakefile imports this module to know every SAE's path before any rule runs.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import asdict, dataclass, fields

from clip_sae.recipe_values import RecipeError, check_value, suggestion

__all__ = ["ARCHITECTURES", "PASS_KEYS", "SWEEP_KEYS", "RecipeError", "SaeRecipe"]

# One pass over the store serves every SAE of a recipe, so these have one value per recipe.
PASS_KEYS = ("batch_tokens", "epochs", "tokens", "data_seed")
# A list on any of these trains one SAE per value.
SWEEP_KEYS = (
    "expansion_factor",
    "k",
    "l1_coefficient",
    "lr",
    "warmup_steps",
    "lr_schedule",
    "input_norm",
    "ghost_grads",
    "aux_k",
    "aux_k_coefficient",
    "dead_window_tokens",
    "clip_norm",
    "seed",
    "b_dec_init",
)


@dataclass(frozen=True)
class ArchitectureRules:
    """Which keys one architecture needs and which ones mean nothing to it."""

    needs: tuple[str, ...]
    refuses: dict[str, str]  # key -> why


ARCHITECTURES = {
    "vanilla": ArchitectureRules(
        needs=("l1_coefficient",),
        refuses={
            "k": "a vanilla SAE has no k: its sparsity comes from l1_coefficient",
            "aux_k": "AuxK revives dead TopK latents; for a vanilla SAE write `ghost_grads: true`",
        },
    ),
    "topk": ArchitectureRules(
        needs=("k",),
        refuses={
            "l1_coefficient": "TopK fixes the number of active latents by k and takes no L1 term",
        },
    ),
}

# `standard` values are the field's; `prisma_compat` values are the defaults of the paper's code.
FORM_DEFAULTS = {
    "standard": {"lr": 4e-4, "ghost_grads": False, "dead_window_tokens": 10_000_000},
    "prisma_compat": {"lr": 1e-3, "ghost_grads": True, "dead_window_tokens": 5_000 * 4_096},
}


@dataclass(frozen=True)
class SaeRecipe:
    """All that decides the weights of one SAE, given the tokens it is trained on.

    `d_sae` = `expansion_factor` x d_model. `dead_window_tokens`: a latent silent for more tokens
    than this is dead. `aux_k`: number of dead latents in the AuxK term, "auto" = d_model // 2,
    None = no AuxK. `lr` and `l1_coefficient` are in the units of `form` (equations.md, Eq. 3).
    """

    architecture: str
    expansion_factor: int
    form: str = "standard"
    k: int | None = None
    l1_coefficient: float | None = None
    lr: float = 4e-4
    batch_tokens: int = 4096
    epochs: float = 1.0
    warmup_steps: int = 200  # App. 10
    lr_schedule: str = "cosine"
    input_norm: str = "layer_norm"
    ghost_grads: bool = False
    aux_k: int | str | None = None
    aux_k_coefficient: float = 1 / 32  # Gao et al. 2024
    dead_window_tokens: int = 10_000_000
    clip_norm: float | None = 1.0
    seed: int = 0
    data_seed: int = 0
    tokens: str = "all"
    b_dec_init: str = "geometric_median"
    init_tokens: int = 32_768
    adam_betas: tuple[float, float] = (0.9, 0.999)

    @classmethod
    def from_config(cls, name: str, block: dict) -> list[tuple[str, SaeRecipe]]:
        """Return [(variant, recipe)]: the product of the block's lists, in the block's order.

        `block` is the recipe without `hook`, `layers` and `dataset`. The variant is "base" for a
        block without lists, else e.g. "l1_coefficient-0.0001_seed-1", safe in a path.
        Raises RecipeError naming the recipe, the key and what to write instead.
        """
        if not isinstance(block, dict):
            raise RecipeError(
                f"recipe {name!r}: expected keys such as `architecture: topk`, got {block!r}."
            )
        _check_keys(name, block)
        swept = [key for key, value in block.items() if _is_sweep(name, key, value)]
        variants = []
        for values in itertools.product(*(block[key] for key in swept)):
            chosen = dict(zip(swept, values, strict=True))
            recipe = cls(**_complete(name, {**block, **chosen}))
            variants.append((_variant_name(chosen), recipe))
        return variants

    def d_sae(self, d_model: int) -> int:
        """Number of latents on tokens of width `d_model`."""
        return self.expansion_factor * d_model

    def aux_latents(self, d_model: int) -> int:
        """Number of dead latents in the AuxK term, 0 without one."""
        if self.aux_k == "auto":
            return max(1, d_model // 2)  # Gao et al. 2024: a power of two near d_model / 2
        return self.aux_k or 0

    def check_width(self, name: str, d_model: int) -> None:
        """Raise RecipeError if `k` or `aux_k` exceeds `d_sae` for this `d_model`."""
        d_sae = self.d_sae(d_model)
        for key, value in (("k", self.k), ("aux_k", self.aux_latents(d_model))):
            if value is not None and value > d_sae:
                raise RecipeError(
                    f"recipe {name!r}: {key} is {value}, but the SAE has only {d_sae} latents "
                    f"(expansion_factor {self.expansion_factor} x d_model {d_model}). "
                    f"Write {key} <= {d_sae} or raise expansion_factor."
                )

    def total_steps(self, n_batches: int) -> int:
        """Number of optimiser steps for `epochs` passes over `n_batches` batches."""
        return max(1, math.ceil(self.epochs * n_batches - 1e-9))

    def to_dict(self) -> dict:
        """Every field as plain JSON values in a fixed order, for digests and metadata."""
        plain = asdict(self)
        plain["adam_betas"] = list(self.adam_betas)
        return dict(sorted(plain.items()))


def _check_keys(name: str, block: dict) -> None:
    known = [field.name for field in fields(SaeRecipe)]
    for key in block:
        if key not in known:
            raise RecipeError(
                f"recipe {name!r}: unknown key {key!r}.{suggestion(key, known)} "
                f"Known keys: {', '.join(known)}."
            )
    for key in ("architecture", "expansion_factor"):
        if key not in block:
            raise RecipeError(
                f"recipe {name!r}: {key} is missing. Write `{key}: "
                f"{'topk' if key == 'architecture' else 64}`."
            )


def _is_sweep(name: str, key: str, value: object) -> bool:
    if not isinstance(value, list | tuple) or key == "adam_betas":
        return False
    if key in PASS_KEYS:
        raise RecipeError(
            f"recipe {name!r}: {key} is a list, but all SAEs of a recipe are trained in one pass "
            f"over the store. Write one value, and another recipe for each other {key}."
        )
    if key not in SWEEP_KEYS:
        raise RecipeError(
            f"recipe {name!r}: {key} is a list. Lists are possible for {', '.join(SWEEP_KEYS)}; "
            f"write one value, and another recipe for each other {key}."
        )
    if not value:
        raise RecipeError(f"recipe {name!r}: {key} is an empty list. Write at least one value.")
    labels = [_label(item) for item in value]
    if len(set(labels)) < len(labels):
        raise RecipeError(f"recipe {name!r}: {key} lists a value twice: {list(value)}.")
    return True


def _complete(name: str, block: dict) -> dict:
    """One list-free block with its defaults filled in and every value checked."""
    block = {key: check_value(name, key, value) for key, value in block.items()}
    form = block.setdefault("form", "standard")
    rules = ARCHITECTURES[block["architecture"]]
    for key in rules.needs:
        if block.get(key) is None:
            raise RecipeError(
                f"recipe {name!r}: architecture {block['architecture']} needs {key}. "
                f"Write `{key}: {32 if key == 'k' else 1.0e-4}`."
            )
    for key, why in rules.refuses.items():
        if block.get(key) is not None:
            raise RecipeError(f"recipe {name!r}: remove {key}: {why}.")
    _check_revival(name, block, form)
    defaults = dict(FORM_DEFAULTS[form])
    if block["architecture"] == "topk" and form == "standard":
        defaults["aux_k"] = "auto"
    return {**defaults, **block}


def _check_revival(name: str, block: dict, form: str) -> None:
    """Each dead-latent remedy belongs to one form of TopK: two at once answer no question."""
    if form == "prisma_compat" and block.get("aux_k") is not None:
        raise RecipeError(
            f"recipe {name!r}: remove aux_k: the paper's code has no AuxK. Write `form: standard` "
            f"to train with AuxK, or `ghost_grads: true` for the paper's remedy."
        )
    if block["architecture"] == "topk" and form == "standard" and block.get("ghost_grads"):
        # equations.md: AuxK is standard TopK's remedy; the paper's ghost grads on TopK are its
        # code's own combination, which prisma_compat reproduces.
        raise RecipeError(
            f"recipe {name!r}: a standard TopK SAE revives dead latents by AuxK, not by "
            f"ghost_grads. Remove ghost_grads (aux_k is on by default), or write "
            f"`form: prisma_compat`, whose code combines TopK with ghost grads."
        )


def _variant_name(chosen: dict) -> str:
    return "_".join(f"{key}-{_label(value)}" for key, value in chosen.items()) or "base"


def _label(value: object) -> str:
    """A value as it stands in a path: short, and different for different values."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        short = f"{value:g}"
        return (short if float(short) == value else repr(value)).replace("e+", "e")
    return str(value)
