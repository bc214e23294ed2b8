"""Recipes: defaults, products of lists, variant names, and what each mistake is told."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_sae.recipes import RecipeError, SaeRecipe

VANILLA = {"architecture": "vanilla", "expansion_factor": 8, "l1_coefficient": 1e-4}
TOPK = {"architecture": "topk", "expansion_factor": 8, "k": 32}


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


def test_total_steps():
    assert one({**VANILLA, "epochs": 2}).total_steps(7) == 14
    assert one({**VANILLA, "epochs": 0.5}).total_steps(7) == 4
    assert one({**VANILLA, "epochs": 0.1}).total_steps(10) == 1
    assert one({**VANILLA, "epochs": 1e-6}).total_steps(7) == 1


MISTAKES = [
    ({"expansion_factor": 8}, r"architecture is missing"),
    ({"architecture": "topk", "k": 4}, r"expansion_factor is missing"),
    ({**TOPK, "k": None}, r"architecture topk needs k\. Write `k: 32`"),
    ({"architecture": "vanilla", "expansion_factor": 8}, r"vanilla needs l1_coefficient"),
    ({**VANILLA, "k": 3}, r"remove k: a vanilla SAE has no k"),
    ({**VANILLA, "aux_k": 3}, r"remove aux_k: AuxK revives dead TopK latents"),
    ({**TOPK, "l1_coefficient": 1e-4}, r"remove l1_coefficient: TopK fixes"),
    ({**TOPK, "ghost_grads": True}, r"revives dead latents by AuxK, not by ghost_grads"),
    ({**TOPK, "form": "prisma_compat", "aux_k": 8}, r"the paper's code has no AuxK"),
    ({**TOPK, "epochs": [1, 2]}, r"epochs is a list, but all SAEs of a recipe are trained in one"),
    ({**TOPK, "architecture": ["topk"]}, r"architecture is a list\. Lists are possible for"),
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
    ({**TOPK, "architecture": "gated"}, r"one of vanilla, topk"),
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
