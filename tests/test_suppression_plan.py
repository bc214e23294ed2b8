"""Suppression in a config: each mistake is a sentence, each edit changes what depends on it."""

import copy
from pathlib import Path

import pytest
import yaml

from clip_sae.config import ConfigError, validate_config
from clip_sae.plan import Plan
from clip_sae.suppression_plan import HEADLINE, SuppressionPlan
from clip_sae.suppression_tables_plan import SuppressionTables

ROOT = Path(__file__).resolve().parents[1]
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
DEMO = yaml.safe_load((ROOT / "config.yaml").read_text())
DEMO["model"]["model"] = f"local-dir:{ROOT / 'workflow/resources/demo_clip'}"


def edited(edits: dict) -> dict:
    """The demo's config with keys set, written `a.b.c` below analyses.suppression."""
    config = copy.deepcopy(DEMO)
    for dotted, value in edits.items():
        *parents, last = dotted.split(".")
        block = config["analyses"]["suppression"]
        for key in parents:
            block = block.setdefault(key, {})
        block[last] = value
    return config


MISTAKES = {
    "unknown set": ({"sets.birds": {"attribute": "water", "recipes": {"a": "topk_resid"},
                                    "tables": ["x", "y"]}},
                    r"sets\.birds: 'birds' is not under `datasets`"),
    "unknown recipe": ({"sets.celeba.recipes": {"vanilla": "vanila"}},
                       r"recipes\.vanilla: 'vanila' is not under `saes`"),
    "another hook": ({"sets.celeba.recipes": {"vanilla": "vanilla_mlp/l1_coefficient-0.001"}},
                     r"'vanilla_mlp' reconstructs mlp_out, and suppression edits resid_post"),
    "a sweep without its variant": ({"sets.celeba.recipes": {"vanilla": "frontier_topk"}},
                                    r"'frontier_topk' is not one SAE per layer.*frontier_topk/k-4"),
    "no class in the template": ({"sets.celeba.template": "a photo"},
                                 r"sets\.celeba\.template: 'a photo' has no \{\} for the class"),
    "a table twice": ({"sets.celeba.tables": ["table5", "table7"]},
                      r"tables: table7 is a table of 'celeba' already"),
    "grid upside down": ({"thresholds": {"low": 1.0, "high": 0.1}},
                         r"thresholds: low \(1\.0\) must be below high \(0\.1\)"),
    "variants of no column": ({"variants.column": "topk_128"},
                              r"variants\.column: 'topk_128' is no column of sets\.celeba"),
    "guessing without prompts": ({"sets.celeba.background": None},
                                 r"cases\.guessed: the attribute is guessed from prompts"),
    "guessing and balancing": (
        {"variants.cases.guessed": {"attribute_from": "prompts", "contrast": "balanced"}},
        r"cases\.guessed: without labels there is no balanced contrast"),
    "a case called headline": ({"variants.cases.headline": {"fill": "mean"}}, r"headline"),
    "misspelt key": ({"sets.celeba.direction": ["a"]}, r"unknown key `direction`; did you mean"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_sentences(mistake):
    edits, sentence = MISTAKES[mistake]
    with pytest.raises(ConfigError, match=sentence):
        validate_config(edited(edits), SCHEMA)


def planned(edits: dict | None = None, config: dict | None = None):
    config = validate_config(copy.deepcopy(config) if config else edited(edits or {}), SCHEMA)
    plan = Plan(config, workflow=ROOT / "workflow", src=ROOT / "src")
    suppression = SuppressionPlan(plan)
    beyond = SuppressionTables(suppression)
    found = {"table1": suppression.table1, "rows": suppression.rows}
    found |= beyond.all_tables | {"variants": beyond.variant_table}
    for name in suppression.sets:
        for layer in suppression.layers(name):
            found[f"contrast {name}"] = suppression.contrast(name, layer)
            found[f"evaluated {name}"] = suppression.evaluated(name, layer)
    found["text rendered"] = beyond.rendered({"suppression_text": beyond.text_side})[0]
    return {name: artefact.digest for name, artefact in found.items()}


CELEBA = {"evaluated celeba", "table5", "table6", "table1", "rows", "suppression_prompts",
          "variants"}  # fmt: skip
BIRDS = {"evaluated waterbirds", "table7", "table8", "table1", "rows", "suppression_prompts",
         "variants"}  # fmt: skip
EVERY = CELEBA | BIRDS
TEXT = {"suppression_text", "text rendered"}
EDITS = {
    "thresholds.n": (12, EVERY),
    "max_drop": (0.02, EVERY | {"text rendered"}),  # a caption says it
    "sets.celeba.directions": (["a", "both"], CELEBA),
    "sets.celeba.images": ("full", CELEBA | TEXT),
    "sets.waterbirds.template": ("none", BIRDS | TEXT),
    "sets.waterbirds.attribute": ("land", BIRDS | TEXT | {"contrast waterbirds"}),
    "sets.waterbirds.background.helpful": ([], TEXT),
    "sets.waterbirds.background.a": (["water"], TEXT | {"variants"}),  # it is guessed from, too
    "sets.celeba.sweep.names": ([["woman", "man"]], {"suppression_prompts"}),
    "variants.cases.mean": (None, {"variants"}),
    "controls.seeds": (7, EVERY),
    "last_layer_tokens": ("all", EVERY | {"contrast celeba", "contrast waterbirds"}),
}  # fmt: skip


@pytest.mark.parametrize("edit", EDITS)
def test_edits_change_exactly_what_depends_on_them(edit):
    value, expected = EDITS[edit]
    if edit == "variants.cases.mean":
        cases = dict(DEMO["analyses"]["suppression"]["variants"]["cases"])
        del cases["mean"]
        edit, value = "variants.cases", cases
    before, after = planned(), planned({edit: value})
    changed = {name for name in before if before[name] != after[name]}
    assert changed == expected


def test_files_that_hold_the_name_of_a_recipe_follow_it():
    renamed = copy.deepcopy(DEMO)
    renamed["saes"]["other"] = copy.deepcopy(renamed["saes"]["vanilla_resid"])
    block = renamed["analyses"]["suppression"]
    for place in block["sets"].values():
        place["recipes"]["vanilla"] = "other"
    before, after = (planned(config=config) for config in (DEMO, renamed))
    unchanged = {name for name in before if before[name] == after[name]}
    assert unchanged == TEXT | {name for name in before if name.startswith("text")}


def test_layers_are_those_of_the_recipes_and_variants_keep_to_theirs():
    config = validate_config(copy.deepcopy(DEMO), SCHEMA)
    plan = Plan(config, workflow=ROOT / "workflow", src=ROOT / "src")
    suppression = SuppressionPlan(plan)
    assert suppression.layers("celeba") == [0, 1, 2, 3, 4, 5]
    assert set(suppression.saes("celeba", 0)) == {"vanilla_resid"}  # TopK has no layer 0
    assert set(suppression.saes("celeba", 3)) == {"vanilla_resid", "topk_resid"}
    assert suppression.layers("celeba", "mean") == [3, 4, 5]
    assert set(suppression.saes("celeba", 3, "mean")) == {"vanilla_resid"}
    assert suppression.values("celeba", 5)["tokens"] == "cls"
    assert suppression.values("celeba", 4, "patches")["tokens"] == "patch"
    same = suppression.contrast("celeba", 3), suppression.contrast("celeba", 3, "mean")
    assert same[0].path == same[1].path  # one pass over the store serves all cases with labels
    assert suppression.contrast("celeba", 3, "guessed").path != same[0].path
    assert (
        suppression.evaluated("celeba", 3, HEADLINE).path
        != suppression.evaluated("celeba", 3, "mean").path
    )
