"""Recipes: defaults, products of lists, variant names, and the sentence for each mistake."""

import json
import re
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_sae.architectures import architectures
from clip_sae.planning.recipe_values import keys_of
from clip_sae.planning.recipes import (
    RecipeError,
    SaeRecipe,
    can_sweep,
    key_table,
    pass_keys,
    recipe_keys,
    recipe_schema,
)

VANILLA = {"architecture": "vanilla", "expansion_factor": 8, "l1_coefficient": 1e-4}
TOPK = {"architecture": "topk", "expansion_factor": 8, "k": 32}
JUMPRELU = {"architecture": "jumprelu", "expansion_factor": 8, "l0_coefficient": 0.01}
MATRYOSHKA = {**TOPK, "architecture": "matryoshka"}
# Keys of each architecture; together they make a sweep over all of them.
ARCHITECTURES = ["batchtopk", "gated", "jumprelu", "matryoshka", "topk", "vanilla"]
NEEDS = {"k": 32, "l1_coefficient": 1e-4, "l0_coefficient": 0.01}


def one(section: dict) -> SaeRecipe:
    [(variant, recipe)] = SaeRecipe.from_config("demo", section)
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
    section = {**VANILLA, "l1_coefficient": [1e-4, 8e-5], "seed": [0, 1]}
    variants = SaeRecipe.from_config("demo", section)
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
    own = keys_of(architectures()[architecture])
    needs = {key: NEEDS[key] for key, found in own.items() if found.required}
    return one({"architecture": architecture, "expansion_factor": 8, **needs, **changes})


def special_keys() -> set[str]:
    return set(recipe_keys()) - set(keys_of(SaeRecipe))


def test_registering_and_planning_load_no_torch():
    code = (
        "import sys; from clip_sae.planning.recipes import recipe_schema; recipe_schema(); "
        "assert 'torch' not in sys.modules and 'clip_sae.architectures.topk' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_key_has_a_rule_that_its_default_fits_and_one_line_of_help():
    for name, kind in {"all": SaeRecipe, **architectures()}.items():
        for word, found in keys_of(kind).items():
            value = found.example if found.required else found.default
            rule = recipe_keys()[word].rule if word == "architecture" else found.rule
            fits = value is None and rule.nullable or rule.parse(value) == value
            assert fits, (name, word)
            assert 8 < len(found.help) < 90 and "\n" not in found.help


def test_no_architecture_repeats_a_key_of_all():
    for kind in architectures().values():
        assert not set(keys_of(kind)) & set(keys_of(SaeRecipe))


def test_lists_make_sweeps_except_where_one_pass_or_a_list_is_the_value():
    fixed = {word for word in recipe_keys() if not can_sweep(word)}
    lists = {"adam_betas", "prefixes"}
    assert fixed == {*pass_keys(), *lists, "form", "init_tokens"}
    assert set(pass_keys()) == {"batch_tokens", "epochs", "tokens", "data_seed"}


def test_the_schema_has_every_key_and_its_types():
    schema = recipe_schema()
    assert set(schema) == set(recipe_keys())
    assert schema["k"]["anyOf"][0] == {"type": ["integer"]}
    assert schema["target_l0"]["anyOf"][0] == {"type": ["number", "null"]}
    assert schema["epochs"]["type"] == ["number"]
    assert schema["form"]["enum"] == ["standard", "prisma_compat", "patchsae"]
    assert "active latents per token (topk)" in schema["k"]["description"]


def test_the_table_has_a_row_for_every_key():
    rows = [line.strip("| ").split(" | ") for line in key_table().splitlines()[2:]]
    assert list(dict.fromkeys(row[1].strip("`") for row in rows)) == list(recipe_keys())
    assert all(len(row) == 5 for row in rows)
    aux_k = {row[0]: row[3] for row in rows if row[1] == "`aux_k`"}
    assert aux_k == {"batchtopk, matryoshka, topk": "auto", "jumprelu": "null"}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_foreign_keys_are_left_out_of_the_digest(architecture):
    """So that a new kind of SAE changes no digest of the others."""
    plain = of_architecture(architecture).to_dict()
    own = keys_of(architectures()[architecture])
    assert set(plain) == set(keys_of(SaeRecipe)) | set(own)
    assert json.loads(json.dumps(plain)) == plain
    assert SaeRecipe.from_dict(json.loads(json.dumps(plain))) == of_architecture(architecture)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_special_key_is_refused_or_counts(architecture):
    other = {"decoder_norm": "free", "prefixes": [0.5, 1.0], "ghost_grads": True}
    for key in special_keys():
        value = other.get(key, 3)
        if key not in keys_of(architectures()[architecture]):
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
    section = {"architecture": ARCHITECTURES, "expansion_factor": 8, **NEEDS}
    variants = dict(SaeRecipe.from_config("demo", {**section, "k": [16, 32]}))
    assert list(variants) == [
        "architecture-batchtopk_k-16",
        "architecture-batchtopk_k-32",
        "architecture-gated",
        "architecture-jumprelu",
        "architecture-matryoshka_k-16",
        "architecture-matryoshka_k-32",
        "architecture-topk_k-16",
        "architecture-topk_k-32",
        "architecture-vanilla",
    ]
    for name, recipe in variants.items():
        alone = of_architecture(recipe.architecture, **({"k": recipe.k} if "k-" in name else {}))
        assert recipe == alone, name


def test_prefixes_are_numbers_of_latents():
    [(variant, recipe)] = SaeRecipe.from_config("demo", {**MATRYOSHKA, "prefixes": [0.1, 0.2, 1]})
    assert variant == "base"  # a list that is one value is no sweep
    assert recipe.own.nested(50) == (5, 10, 50)
    assert recipe.own.nested(4) == (1, 4)  # 0.4 and 0.8 of a latent are the same one
    assert of_architecture("matryoshka").own.nested(64) == (4, 8, 16, 32, 64)
    assert one(TOPK).own.nested(64) == (64,)


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
    ({**TOPK, "k": None}, r"architecture topk needs k: active latents per.*Write `k: 32`"),
    ({"architecture": "vanilla", "expansion_factor": 8}, r"vanilla needs l1_coefficient"),
    ({**TOPK, "architecture": "gated"}, r"architecture gated needs l1_coefficient"),
    ({**VANILLA, "architecture": "jumprelu"}, r"needs l0_coefficient.*`l0_coefficient: 0\.01`"),
    (
        {**VANILLA, "k": 3},
        r"remove k from this vanilla SAE: active latents per.*\(batchtopk, mat",
    ),
    (
        {**VANILLA, "aux_k": 3},
        r"remove aux_k from this vanilla SAE: dead latents that AuxK revives",
    ),
    (
        {**TOPK, "l1_coefficient": 1e-4},
        r"remove l1_coefficient from this topk SAE: weight of the L1 term",
    ),
    (
        {**TOPK, "decoder_norm": "free"},
        r"remove decoder_norm.*L1 term \(vanilla\)",
    ),
    ({**JUMPRELU, "ghost_grads": True}, r"remove ghost_grads from this jumprelu SAE"),
    ({**JUMPRELU, "target_l0": 0}, r"target_l0 is 0 \(int\); expected a number > 0, or null"),
    ({**JUMPRELU, "bandwidth": 0}, r"bandwidth is 0 \(int\); expected a number > 0"),
    ({**TOPK, "prefixes": [0.5, 1.0]}, r"remove prefixes.*nested dictionaries.*\(matryoshka\)"),
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
    ({**TOPK, "architecture": ["topk", "dense"]}, r"architecture is 'dense'.*one of batchtopk"),
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
    ({**TOPK, "architecture": "dense"}, r"one of batchtopk, gated, jumprelu, matryoshka, .*to"),
]


@pytest.mark.parametrize(("section", "message"), MISTAKES, ids=lambda v: str(v)[:40])
def test_sentences_begin_with_the_recipes_name(section, message):
    with pytest.raises(RecipeError, match=message) as caught:
        SaeRecipe.from_config("demo", section)
    assert str(caught.value).startswith("recipe 'demo': ")


def test_a_section_must_be_a_mapping():
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
