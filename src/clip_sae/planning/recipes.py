"""SAE recipes: the blocks of the config that name SAEs, as checked, frozen dataclasses.

Steering paper §3 and App. 10 (Eq. 3, hyper-parameters), PatchSAE §3. Standard library only: the
Snakefile imports this module to know every SAE's path before any rule runs.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import asdict, dataclass, fields

from clip_sae.planning.recipe_values import RecipeError, check_value, suggestion

__all__ = ["ARCHITECTURES", "PASS_KEYS", "SWEEP_KEYS", "RecipeError", "SaeRecipe"]

# One pass over the store serves every SAE of a recipe, so these have one value per recipe.
PASS_KEYS = ("batch_tokens", "epochs", "tokens", "data_seed")
# A list on any of these trains one SAE per value.
SWEEP_KEYS = (
    "architecture",
    "expansion_factor",
    "k",
    "l1_coefficient",
    "decoder_norm",
    "l0_coefficient",
    "target_l0",
    "bandwidth",
    "initial_threshold",
    "sparsity_warmup_steps",
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
LIST_KEYS = ("adam_betas", "prefixes")  # whose value is a list itself

# Keys that mean something to some architectures only, with what they do there.
SPECIAL_KEYS = {
    "k": "it fixes the number of active latents of topk, batchtopk and matryoshka",
    "l1_coefficient": "it weighs the L1 term of vanilla and gated",
    "decoder_norm": "only a vanilla SAE can have decoder rows of free norm",
    "l0_coefficient": "it weighs the L0 term of jumprelu",
    "target_l0": "it is the L0 that jumprelu is pulled to",
    "bandwidth": "it is the width of jumprelu's gradient estimator",
    "initial_threshold": "it is where jumprelu's thresholds start",
    "sparsity_warmup_steps": "it warms up the sparsity term of vanilla, gated and jumprelu",
    "prefixes": "they are the nested dictionaries of matryoshka",
    "ghost_grads": "they revive dead latents of vanilla, and of topk in `form: prisma_compat`",
    "aux_k": "AuxK revives dead latents of topk, batchtopk, matryoshka and jumprelu",
}


@dataclass(frozen=True)
class ArchitectureRules:
    """The special keys that one architecture needs, and those that it may have."""

    needs: tuple[str, ...]
    may: tuple[str, ...]
    forms: tuple[str, ...] = ("standard",)
    aux_k: bool = False  # whether AuxK is on unless a recipe turns it off

    @property
    def refuses(self) -> list[str]:
        """Special keys that mean nothing to it."""
        return [key for key in SPECIAL_KEYS if key not in self.needs + self.may]


ARCHITECTURES = {
    "vanilla": ArchitectureRules(
        needs=("l1_coefficient",),
        may=("decoder_norm", "sparsity_warmup_steps", "ghost_grads"),
        forms=("standard", "prisma_compat", "patchsae"),
    ),
    "topk": ArchitectureRules(
        needs=("k",),
        may=("aux_k", "ghost_grads"),
        forms=("standard", "prisma_compat"),
        aux_k=True,
    ),
    "batchtopk": ArchitectureRules(needs=("k",), may=("aux_k",), aux_k=True),
    "jumprelu": ArchitectureRules(
        needs=("l0_coefficient",),
        may=("target_l0", "bandwidth", "initial_threshold", "sparsity_warmup_steps", "aux_k"),
    ),
    "gated": ArchitectureRules(needs=("l1_coefficient",), may=("sparsity_warmup_steps",)),
    "matryoshka": ArchitectureRules(needs=("k",), may=("prefixes", "aux_k"), aux_k=True),
}

# `standard` values are the field's; `prisma_compat` values are the defaults of the steering paper's
# code, `patchsae` those of PatchSAE's: it calls a latent dead that was silent for 64 batches.
FORM_DEFAULTS = {
    "standard": {"lr": 4e-4, "ghost_grads": False, "dead_window_tokens": 10_000_000},
    "prisma_compat": {"lr": 1e-3, "ghost_grads": True, "dead_window_tokens": 5_000 * 4_096},
    "patchsae": {"lr": 4e-4, "ghost_grads": True, "dead_window_tokens": 64 * 128 * 197},
}


@dataclass(frozen=True)
class SaeRecipe:
    """All that decides the weights of one SAE, given the tokens it is trained on.

    `d_sae` = `expansion_factor` x d_model. `decoder_norm`: "unit" rows, or "free" ones whose norm
    weighs the L1 term. `target_l0`: jumprelu's loss is then `l0_coefficient` (L0 / target − 1)².
    `prefixes`: shares of d_sae, ascending to 1. `dead_window_tokens`: a latent silent for more
    tokens than this is dead. `aux_k`: number of dead latents in the AuxK term, "auto" =
    d_model // 2, None = no AuxK. `lr` and `l1_coefficient` are in the units of `form` (Eq. 3).
    """

    architecture: str
    expansion_factor: int
    form: str = "standard"
    k: int | None = None
    l1_coefficient: float | None = None
    decoder_norm: str = "unit"
    l0_coefficient: float | None = None
    target_l0: float | None = None
    bandwidth: float = 0.1  # of pre-activations whose spread is about 1
    initial_threshold: float = 0.1
    sparsity_warmup_steps: int = 0
    prefixes: tuple[float, ...] = (0.0625, 0.125, 0.25, 0.5, 1.0)
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
        if "architecture" in swept:
            return _architectures(cls, name, block)
        variants = []
        for values in itertools.product(*(block[key] for key in swept)):
            chosen = dict(zip(swept, values, strict=True))
            recipe = cls(**_complete(name, {**block, **chosen}))
            variants.append((_variant_name(chosen), recipe))
        return variants

    @classmethod
    def from_dict(cls, plain: dict) -> SaeRecipe:
        """The recipe that `to_dict` wrote."""
        lists = {key: tuple(plain[key]) for key in LIST_KEYS if key in plain}
        return cls(**{**plain, **lists})

    def d_sae(self, d_model: int) -> int:
        """Number of latents on tokens of width `d_model`."""
        return self.expansion_factor * d_model

    @property
    def sparsity_knob(self) -> str:
        """Name of the key that decides how many latents are active."""
        if self.target_l0 is not None:
            return "target_l0"
        return ARCHITECTURES[self.architecture].needs[0]

    @property
    def initial_row_norm(self) -> float:
        """Norm of the decoder's rows before training; free ones start short, as in SAELens."""
        return 0.1 if self.decoder_norm == "free" else 1.0

    def prefix_latents(self, d_sae: int) -> tuple[int, ...]:
        """Numbers of latents of the nested dictionaries, ascending, without repeats."""
        return tuple(sorted({max(1, round(share * d_sae)) for share in self.prefixes}))

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
        """Every field that matters as plain JSON values in a fixed order, for digests.

        Keys that mean nothing to the architecture are left out, so that a new kind of SAE changes
        no digest of the others.
        """
        idle = ARCHITECTURES[self.architecture].refuses
        plain = {key: value for key, value in asdict(self).items() if key not in idle}
        for key in LIST_KEYS:
            if key in plain:
                plain[key] = list(plain[key])
        return dict(sorted(plain.items()))


EXAMPLES = {"k": 32, "l1_coefficient": 1.0e-4, "l0_coefficient": 0.01}


def _architectures(cls: type, name: str, block: dict) -> list[tuple[str, SaeRecipe]]:
    """The variants of a block that lists architectures: each takes the keys that it knows."""
    variants = []
    for architecture in block["architecture"]:
        check_value(name, "architecture", architecture)
    for key in block:
        if all(key in ARCHITECTURES[a].refuses for a in block["architecture"]):
            raise RecipeError(
                f"recipe {name!r}: remove {key}, which none of its architectures "
                f"({', '.join(block['architecture'])}) knows: {SPECIAL_KEYS[key]}."
            )
    for architecture in block["architecture"]:
        idle = ARCHITECTURES[architecture].refuses
        own = {key: value for key, value in block.items() if key not in idle}
        for variant, recipe in cls.from_config(name, {**own, "architecture": architecture}):
            rest = "" if variant == "base" else f"_{variant}"
            variants.append((f"architecture-{architecture}{rest}", recipe))
    return variants


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
    if not isinstance(value, list | tuple) or key in LIST_KEYS:
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
    architecture = block["architecture"]
    rules = ARCHITECTURES[architecture]
    for key in rules.needs:
        if block.get(key) is None:
            raise RecipeError(
                f"recipe {name!r}: architecture {architecture} needs {key}: {SPECIAL_KEYS[key]}. "
                f"Write `{key}: {EXAMPLES[key]}`."
            )
    for key in rules.refuses:
        if block.get(key):
            raise RecipeError(
                f"recipe {name!r}: remove {key} from this {architecture} SAE: {SPECIAL_KEYS[key]}."
            )
    if form not in rules.forms:
        raise RecipeError(
            f"recipe {name!r}: form {form} is the paper's code, which has no {architecture} SAE. "
            f"Remove form, or write architecture: {_architectures_of(form)}."
        )
    _check_revival(name, block, form)
    defaults = dict(FORM_DEFAULTS[form])
    if "ghost_grads" in rules.refuses:
        defaults["ghost_grads"] = False
    if rules.aux_k and form == "standard":
        defaults["aux_k"] = "auto"
    return {**defaults, **block}


def _architectures_of(form: str) -> str:
    return " or ".join(name for name, rules in ARCHITECTURES.items() if form in rules.forms)


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
