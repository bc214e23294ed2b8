"""Suppression in a config: mistakes give sentences, edits change the right digests."""

import copy
from pathlib import Path

import pytest
import yaml

from clip_sae.analyses.planned import planned
from clip_sae.analyses.suppression.plan import HEADLINE, SuppressionPlan
from clip_sae.planning.config import ConfigError, validate_config
from clip_sae.planning.plan import Plan

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
DEMO = yaml.safe_load((ROOT / "config.yaml").read_text())
DEMO["model"]["model"] = f"local-dir:{ROOT / 'workflow/resources/demo_clip'}"


def edited(edits: dict) -> dict:
    """Return the demo's config with keys set, written `a.b.c` below analyses.suppression."""
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
                    r"sets: 'birds' is not under `datasets`"),
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
                              r"variants\.column: 'topk_128' is not a column of sets\.celeba"),
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


def plan_of(config: dict) -> Plan:
    config = validate_config(copy.deepcopy(config), SCHEMA)
    return planned(config, workflow=ROOT / "workflow", src=ROOT / "src")


FINAL = {name: f"{name}.csv" for name in (
    *("table1", "table5", "table6", "table7", "table8"),
    *("suppression_text", "suppression_prompts", "suppression_cases"),
)} | {"rows": "suppression.csv", "variants": "suppression_variants.csv"}  # fmt: skip
RENDERED = {f"{name} rendered": f"{file}.md" for name, file in {
    "text": "suppression_text", "table1": "table1", "table5": "table5",
}.items()}  # fmt: skip


def digests(config: dict) -> dict[str, str]:
    """Return digests of the final files and of every set's measurements of the last layer."""
    plan = plan_of(config)
    files = {Path(path).name: a for path, step in plan.steps.items() for a in step.artefacts
             if a.path == path}  # fmt: skip
    found = {name: files[file].digest for name, file in (FINAL | RENDERED).items()}
    suppression = plan.of("suppression")
    for name in suppression.sets:
        layer = suppression.layers(name)[-1]
        found[f"contrast {name}"] = suppression.contrast(name, layer).digest
        found[f"evaluated {name}"] = suppression.evaluated(name, layer).digest
        found[f"summary {name}"] = suppression.summary(name).digest
    return found


BOTH = {"table1", "table1 rendered", "rows", "suppression_prompts", "suppression_cases", "variants"}
CELEBA = BOTH | {"evaluated celeba", "summary celeba", "table5", "table6", "table5 rendered"}
BIRDS = BOTH | {"evaluated waterbirds", "summary waterbirds", "table7", "table8"}
EVERY = CELEBA | BIRDS
TEXT = {"suppression_text", "text rendered"}
EDITS = {
    "thresholds.n": (12, EVERY),
    "max_drop": (0.02, EVERY),
    "sets.celeba.directions": (["a", "both"], CELEBA),
    "sets.celeba.images": ("full", CELEBA | TEXT),
    "sets.waterbirds.template": ("none", BIRDS | TEXT),
    "sets.waterbirds.attribute": ("land", BIRDS | TEXT | {"contrast waterbirds"}),
    "sets.waterbirds.background.helpful": ([], TEXT),
    # the attribute is guessed from them, too
    "sets.waterbirds.background.a": (["water"], TEXT | {"variants", "suppression_cases"}),
    "sets.celeba.sweep.names": ([["woman", "man"]], {"suppression_prompts"}),
    "variants.cases.mean": (None, {"variants", "suppression_cases"}),
    "controls.seeds": (7, EVERY),
    "last_layer_tokens": ("all", EVERY | TEXT | {"contrast celeba", "contrast waterbirds"}),
}  # fmt: skip


@pytest.mark.parametrize("edit", EDITS)
def test_edits_change_exactly_what_depends_on_them(edit):
    value, expected = EDITS[edit]
    if edit == "variants.cases.mean":
        cases = dict(DEMO["analyses"]["suppression"]["variants"]["cases"])
        del cases["mean"]
        edit, value = "variants.cases", cases
    before, after = digests(edited({})), digests(edited({edit: value}))
    changed = {name for name in before if before[name] != after[name]}
    assert changed == expected


def test_files_that_hold_the_name_of_a_recipe_follow_it():
    renamed = copy.deepcopy(DEMO)
    renamed["saes"]["other"] = copy.deepcopy(renamed["saes"]["vanilla_resid"])
    block = renamed["analyses"]["suppression"]
    for place in block["sets"].values():
        place["recipes"]["vanilla"] = "other"
    before, after = (digests(config) for config in (DEMO, renamed))
    assert {name for name in before if before[name] == after[name]} == TEXT


def test_renaming_a_column_of_a_table_repeats_no_measurement():
    columns = {"paper": "vanilla_resid", "topk_64": "topk_resid"}
    edits = {"sets.celeba.recipes": columns, "variants": None}
    before, after = (plan_of(edited(e)) for e in ({"variants": None}, edits))
    changed = {Path(path).name for path in after.steps if path not in before.steps}
    assert not changed  # their digests are in the names of all intermediate files
    assert after.steps["results/table5.csv"].values != before.steps["results/table5.csv"].values


def test_every_job_declares_what_it_reads():
    plan = plan_of(DEMO)
    suppression = plan.of("suppression")
    labels, guessed = (
        {Path(up.path).parts[1] for up in plan.steps[contrast.path].upstream}
        for contrast in (
            suppression.contrast("celeba", 3), suppression.contrast("celeba", 3, "guessed"),
        )
    )  # fmt: skip
    assert labels == {"datasets", "activations", "saes"}
    assert guessed == labels | {"fingerprints"}
    prompts = plan.steps["results/suppression_prompts.csv"]
    splits = {Path(up.path).parts[3] for up in prompts.upstream if "activations" in up.path}
    assert splits == {"celeba-test", "waterbirds-test"}


def test_configs_without_suppression_have_no_steps_of_it():
    config = copy.deepcopy(DEMO)
    for name in ("suppression", "pictures"):
        config["analyses"].pop(name)
    plan = plan_of(config)
    assert plan.of("suppression") is None
    assert not [path for path in plan.steps if "suppression" in path]


def test_layers_are_those_of_the_recipes_and_variants_keep_to_theirs():
    suppression = plan_of(DEMO).of("suppression")
    assert isinstance(suppression, SuppressionPlan)
    assert suppression.layers("celeba") == [0, 1, 2, 3, 4, 5]
    assert set(suppression.saes("celeba", 0)) == {"vanilla_resid"}  # TopK has no layer 0
    assert list(suppression.saes("celeba", 3)) == ["topk_resid", "vanilla_resid"]  # as the rows
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
