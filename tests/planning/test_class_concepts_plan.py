"""Concepts and classes in a config: mistakes are sentences, edits change what depends on them."""

import copy
from pathlib import Path

import pytest
import yaml

from clip_sae.analyses.planned import planned
from clip_sae.planning.config import ConfigError, validate_config
from clip_sae.planning.plan import Plan

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
DEMO = yaml.safe_load((ROOT / "config.yaml").read_text())
DEMO["model"]["model"] = f"local-dir:{ROOT / 'workflow/resources/demo_clip'}"


def edited(edits: dict) -> dict:
    config = copy.deepcopy(DEMO)
    config["analyses"]["class_concepts"] |= edits
    return config


def plan_of(edits: dict) -> Plan:
    config = validate_config(edited(edits), SCHEMA)
    return planned(config, workflow=ROOT / "workflow", src=ROOT / "src")


def digests(plan: Plan) -> dict[str, str]:
    """Return {rule, or name of a final file: digest}."""
    [counts] = [step for step in plan.steps.values() if step.rule.name == "count_classes"]
    ends = {name: f"{plan.results}/class_concepts.{name}" for name in ("csv", "png", "md")}
    found = {name: plan.steps[path].artefacts[0].digest for name, path in ends.items()}
    return found | {"counts": counts.artefacts[0].digest}


MISTAKES = {
    "unknown set": ({"dataset": "generals"}, r"dataset: 'generals' is not under `datasets`"),
    "unknown recipe": ({"recipe": "vanila"}, r"recipe: 'vanila' is not under `saes`"),
    "another hook": ({"recipe": "vanilla_mlp"}, r"'vanilla_mlp' reconstructs mlp_out"),
    "no such layer": ({"recipe": "topk_resid", "layer": 0}, r"layer 0 is not among the layers"),
    "no last but one": ({"recipe": "frontier_topk"}, r"layer 4 is not among .*last but one"),
    "the last layer": ({"layer": 5}, r"concepts\.layer: after the last layer, 5, .* CLS alone"),
    "CLS alone": ({"recipe": "topk_text", "layer": 5}, r"recipe: 'topk_text' was trained on CLS"),
    "ranked images": ({"split": "train"}, r"split: latents are ranked on split 'train'"),
    "k below one": ({"sizes": [0]}, r"sizes"),
    "misspelt key": ({"size": [1]}, r"unknown key `size`; did you mean `sizes`"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_sentences(mistake):
    edits, sentence = MISTAKES[mistake]
    with pytest.raises(ConfigError, match=sentence):
        validate_config(edited(edits), SCHEMA)


EVERY = {"counts", "csv", "png", "md"}
EDITS = {
    "threshold": (0.1, EVERY),
    "sizes": ([1, "all"], EVERY - {"counts"}),
    "random_seeds": (7, EVERY - {"counts"}),
    "split": ("val", EVERY - {"counts"}),
    "layer": (3, EVERY),
}


@pytest.mark.parametrize("edit", EDITS)
def test_edits_change_exactly_what_depends_on_them(edit):
    value, expected = EDITS[edit]
    before, after = (digests(plan_of(edits)) for edits in ({}, {edit: value}))
    assert {name for name in EVERY if before[name] != after[name]} == expected


def test_the_layer_is_the_last_but_one_unless_named():
    for edits, layer in (({}, 4), ({"layer": 2}, 2)):
        step = plan_of(edits).steps["results/class_concepts.csv"]
        assert step.reads["sae"].layer == layer and step.reads["sae"].label == "vanilla_resid"
        stores = [step.reads["store"], *step.reads["counts"].upstream]
        assert [s.spec["split"] for s in stores if s.stage == "extract"] == ["test", "train"]
