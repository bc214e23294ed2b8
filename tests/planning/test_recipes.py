"""Recipes: defaults, products of lists, variant names, and a sentence for each mistake."""

import json
import re
from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_sae.planning.recipe_values import RULES
from clip_sae.planning.recipes import (
    ARCHITECTURES,
    LIST_KEYS,
    PASS_KEYS,
    SPECIAL_KEYS,
    SWEEP_KEYS,
    RecipeError,
    SaeRecipe,
)

VANILLA = {"architecture": "vanilla", "expansion_factor": 8, "l1_coefficient": 1e-4}
TOPK = {"architecture": "topk", "expansion_factor": 8, "k": 32}
JUMPRELU = {"architecture": "jumprelu", "expansion_factor": 8, "l0_coefficient": 0.01}
MATRYOSHKA = {**TOPK, "architecture": "matryoshka"}
# Keys of each architecture; together they make a sweep over all of them.
NEEDS = {"k": 32, "l1_coefficient": 1e-4, "l0_coefficient": 0.01}


def one(block: dict) -> SaeRecipe:
    [(variant, recipe)] = SaeRecipe.from_config("demo", block)
    assert variant == "base"
    return recipe


def test_defaults_follow_the_form():
    standard, prisma = one(VANILLA), one({**VANILLA, "form": "prisma_compat"})
    assert not standard.ghost_grads and prisma.ghost_grads
    assert prisma.lr == 1e-3 and prisma.dead_window_tokens == 5000 * 4096
    assert standard.aux_k is None and standard.aux_latents(128) == 0


def test_standard_topk_has_aux_k_unless_switched_off():
    assert one(TOPK).aux_latents(128) == 64
    assert one({**TOPK, "aux_k": 100}).aux_latents(128) == 100
    assert one({**TOPK, "aux_k": None}).aux_latents(128) == 0
    assert one({**TOPK, "form": "prisma_compat"}).aux_latents(128) == 0


def test_lists_expand_to_their_product_in_the_blocks_order():
    block = {**VANILLA, "l1_coefficient": [1e-4, 8e-5], "seed": [0, 1]}
    variants = SaeRecipe.from_config("demo", block)
    assert [name for name, _ in variants] == [
        "l1_coefficient-0.0001_seed-0",
        "l1_coefficient-0.0001_seed-1",
        "l1_coefficient-8e-05_seed-0",
        "l1_coefficient-8e-05_seed-1",
    ]
    assert [r.l1_coefficient for _, r in variants] == [1e-4, 1e-4, 8e-5, 8e-5]


def test_adding_a_value_leaves_the_other_recipes_as_they_were():
    few = dict(SaeRecipe.from_config("demo", {**TOPK, "k": [32]}))
    more = dict(SaeRecipe.from_config("demo", {**TOPK, "k": [64, 32]}))
    assert few["k-32"] == more["k-32"]


def test_to_dict_is_canonical():
    whole, fraction = one({**VANILLA, "epochs": 1}), one({**VANILLA, "epochs": 1.0})
    assert json.dumps(whole.to_dict()) == json.dumps(fraction.to_dict())
    assert list(whole.to_dict()) == sorted(whole.to_dict())


def of_architecture(architecture: str, **changes) -> SaeRecipe:
    needs = {key: NEEDS[key] for key in ARCHITECTURES[architecture].needs}
    return one({"architecture": architecture, "expansion_factor": 8, **needs, **changes})


def test_every_key_is_known_to_all_tables():
    """A new key of the recipe needs a rule for its value, and one for lists of it."""
    names = {field.name for field in fields(SaeRecipe)}
    assert set(RULES) == names
    assert set(SPECIAL_KEYS) <= names and set(SWEEP_KEYS + PASS_KEYS + LIST_KEYS) <= names
    assert not set(SWEEP_KEYS) & set(PASS_KEYS + LIST_KEYS)
    used = {key for rules in ARCHITECTURES.values() for key in rules.needs + rules.may}
    assert used == set(SPECIAL_KEYS)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_idle_keys_are_left_out_of_the_digest(architecture):
    """A new kind of SAE must not change the digests of the others."""
    plain = of_architecture(architecture).to_dict()
    rules = ARCHITECTURES[architecture]
    assert set(SPECIAL_KEYS) & set(plain) == set(rules.needs + rules.may)
    assert set(plain) | set(rules.refuses) == {field.name for field in fields(SaeRecipe)}
    assert json.loads(json.dumps(plain)) == plain
    assert SaeRecipe.from_dict(json.loads(json.dumps(plain))) == of_architecture(architecture)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_special_key_is_refused_or_counts(architecture):
    other = {"decoder_norm": "free", "prefixes": [0.5, 1.0], "ghost_grads": True}
    for key in SPECIAL_KEYS:
        value = other.get(key, 3)
        if key in ARCHITECTURES[architecture].refuses:
            with pytest.raises(RecipeError, match=f"remove {key} from this {architecture} SAE"):
                of_architecture(architecture, **{key: value})
        elif (architecture, key) != ("topk", "ghost_grads"):  # of prisma_compat only
            changed = of_architecture(architecture, **{key: value})
            assert changed.to_dict() != of_architecture(architecture).to_dict()


def test_aux_k_is_on_where_a_choice_of_the_largest_leaves_latents_dead():
    on = {name for name in ARCHITECTURES if of_architecture(name).aux_latents(128)}
    assert on == {"topk", "batchtopk", "matryoshka"}
    assert of_architecture("jumprelu", aux_k="auto").aux_latents(128) == 64


def test_a_list_of_architectures_gives_each_the_keys_that_it_knows():
    block = {"architecture": list(ARCHITECTURES), "expansion_factor": 8, **NEEDS, "k": [16, 32]}
    variants = dict(SaeRecipe.from_config("demo", block))
    assert list(variants) == [
        "architecture-vanilla",
        "architecture-topk_k-16",
        "architecture-topk_k-32",
        "architecture-batchtopk_k-16",
        "architecture-batchtopk_k-32",
        "architecture-jumprelu",
        "architecture-gated",
        "architecture-matryoshka_k-16",
        "architecture-matryoshka_k-32",
    ]
    for name, recipe in variants.items():
        alone = of_architecture(recipe.architecture, **({"k": recipe.k} if "k-" in name else {}))
        assert recipe == alone, name


def test_prefixes_are_numbers_of_latents():
    [(variant, recipe)] = SaeRecipe.from_config("demo", {**MATRYOSHKA, "prefixes": [0.1, 0.2, 1]})
    assert variant == "base"  # a key whose value is a list is no sweep
    assert recipe.prefix_latents(50) == (5, 10, 50)
    assert recipe.prefix_latents(4) == (1, 4)  # 0.4 and 0.8 of a latent are the same one
    assert of_architecture("matryoshka").prefix_latents(64) == (4, 8, 16, 32, 64)


def test_free_rows_start_short():
    assert one({**VANILLA, "decoder_norm": "free"}).initial_row_norm == 0.1
    assert one(VANILLA).initial_row_norm == one(TOPK).initial_row_norm == 1


def test_total_steps():
    assert one({**VANILLA, "epochs": 2}).total_steps(7) == 14
    assert one({**VANILLA, "epochs": 0.5}).total_steps(7) == 4
    assert one({**VANILLA, "epochs": 0.1}).total_steps(10) == 1
    assert one({**VANILLA, "epochs": 1e-6}).total_steps(7) == 1


MISTAKES = [
    (
        {"architecture": ["vanilla", "gated"], "expansion_factor": 8, "k": 3, "l1_coefficient": 1},
        r"remove k, which none of its architectures \(vanilla, gated\) knows",
    ),
    ({"expansion_factor": 8}, r"architecture is missing"),
    ({"architecture": "topk", "k": 4}, r"expansion_factor is missing"),
    ({**TOPK, "k": None}, r"architecture topk needs k: it fixes the number.*Write `k: 32`"),
    ({"architecture": "vanilla", "expansion_factor": 8}, r"vanilla needs l1_coefficient"),
    ({**TOPK, "architecture": "gated"}, r"architecture gated needs l1_coefficient"),
    ({**VANILLA, "architecture": "jumprelu"}, r"needs l0_coefficient.*`l0_coefficient: 0\.01`"),
    ({**VANILLA, "k": 3}, r"remove k from this vanilla SAE: it fixes the number of active latents"),
    ({**VANILLA, "aux_k": 3}, r"remove aux_k from this vanilla SAE: AuxK revives dead latents of"),
    ({**TOPK, "l1_coefficient": 1e-4}, r"remove l1_coefficient from this topk SAE: it weighs"),
    ({**TOPK, "decoder_norm": "free"}, r"remove decoder_norm.*only a vanilla SAE"),
    ({**JUMPRELU, "ghost_grads": True}, r"remove ghost_grads from this jumprelu SAE"),
    ({**JUMPRELU, "target_l0": 0}, r"target_l0 is 0 \(int\); expected a number > 0, or null"),
    ({**JUMPRELU, "bandwidth": 0}, r"bandwidth is 0 \(int\); expected a number > 0"),
    ({**TOPK, "prefixes": [0.5, 1.0]}, r"remove prefixes.*nested dictionaries of matryoshka"),
    ({**MATRYOSHKA, "prefixes": [0.5, 0.25, 1.0]}, r"ascending shares of d_sae that end with 1"),
    ({**MATRYOSHKA, "prefixes": [0.5]}, r"ascending shares of d_sae that end with 1"),
    ({**MATRYOSHKA, "prefixes": [-1, 1]}, r"ascending shares of d_sae that end with 1"),
    ({**MATRYOSHKA, "form": "prisma_compat"}, r"paper's code, which has no matryoshka SAE"),
    ({**TOPK, "ghost_grads": True}, r"revives dead latents by AuxK, not by ghost_grads"),
    ({**TOPK, "form": "patchsae"}, r"which has no topk SAE.*write architecture: vanilla"),
    ({**TOPK, "form": "prisma_compat", "aux_k": 8}, r"the paper's code has no AuxK"),
    ({**TOPK, "epochs": [1, 2]}, r"epochs is a list, but all SAEs of a recipe are trained in one"),
    ({**TOPK, "init_tokens": [1, 2]}, r"init_tokens is a list\. Lists are possible for archit"),
    ({**TOPK, "architecture": ["topk", "gated"]}, r"architecture gated needs l1_coefficient"),
    ({**TOPK, "architecture": ["topk", "dense"]}, r"architecture is 'dense'.*one of vanilla"),
    ({**TOPK, "architecture": ["topk", "topk"]}, r"architecture lists a value twice"),
    ({**TOPK, "k": []}, r"k is an empty list"),
    ({**TOPK, "k": [8, 8]}, r"k lists a value twice"),
    ({**TOPK, "learning_rate": 1}, r"unknown key 'learning_rate'"),
    ({**TOPK, "warmup_step": 1}, r"Did you mean 'warmup_steps'"),
    ({**TOPK, "lr": "1e-3"}, r"lr is '1e-3' \(str\).*write 1\.0e-03 without quotes"),
    ({**TOPK, "k": True}, r"k is True \(bool\); expected a whole number >= 1"),
    ({**TOPK, "k": 2.5}, r"k is 2\.5 \(float\)"),
    ({**TOPK, "lr": 0}, r"lr is 0 \(int\); expected a number > 0"),
    ({**TOPK, "lr": float("nan")}, r"lr is nan"),
    ({**TOPK, "tokens": "patches"}, r"tokens is 'patches'.*one of all, cls, patch"),
    ({**TOPK, "adam_betas": [0.9]}, r"expected two numbers in \[0, 1\)"),
    ({**TOPK, "architecture": "dense"}, r"one of vanilla, topk, batchtopk, jumprelu, gated, mat"),
]


@pytest.mark.parametrize(("block", "message"), MISTAKES, ids=lambda v: str(v)[:40])
def test_mistakes_are_told_with_the_recipes_name(block, message):
    with pytest.raises(RecipeError, match=message) as caught:
        SaeRecipe.from_config("demo", block)
    assert str(caught.value).startswith("recipe 'demo': ")


def test_a_block_that_is_no_mapping():
    with pytest.raises(RecipeError, match="expected keys such as"):
        SaeRecipe.from_config("demo", ["topk"])


def test_check_width():
    one(TOPK).check_width("demo", 4)
    with pytest.raises(RecipeError, match=r"k is 32, but the SAE has only 24 latents"):
        one(TOPK).check_width("demo", 3)


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.floats(1e-12, 1e6), min_size=1, max_size=6, unique=True),
    st.lists(st.integers(0, 10**9), min_size=1, max_size=4, unique=True),
)
def test_variant_names_are_distinct_and_safe_in_paths(lr, seed):
    variants = SaeRecipe.from_config("demo", {**VANILLA, "lr": lr, "seed": seed})
    names = [name for name, _ in variants]
    assert len(set(names)) == len(names) == len(lr) * len(seed)
    assert all(re.fullmatch(r"[\w.-]+", name) for name in names)
