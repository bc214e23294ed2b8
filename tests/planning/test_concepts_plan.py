"""Concepts and quality in a config: mistakes give sentences, edits change the right digests."""

import copy
from pathlib import Path

import pytest
import yaml

from clip_sae.analyses.planned import planned
from clip_sae.planning.artefacts import Artefact
from clip_sae.planning.config import ConfigError, validate_config
from clip_sae.planning.plan import Plan, Step

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
DEMO = yaml.safe_load((ROOT / "config.yaml").read_text())
DEMO["model"]["model"] = f"local-dir:{ROOT / 'workflow/resources/demo_clip'}"
C, Q = "analyses.concepts", "analyses.quality"
ENCODER = {"name": "other", "model": "ViT-B-32", "pretrained": "laion2b_s34b_b79k"}


def edited(edits: dict) -> dict:
    """Return the demo's config with keys set, written `a.b.c`."""
    config = copy.deepcopy(DEMO)
    for dotted, value in edits.items():
        *parents, last = dotted.split(".")
        block = config
        for key in parents:
            block = block[key]
        block[last] = value
    return config


MISTAKES = {
    "an unknown recipe": ({f"{C}.recipe": "topk"}, r"concepts\.recipe: 'topk' is not under `saes`"),
    "an unknown set": ({f"{C}.dataset": "x"}, r"concepts\.dataset: 'x' is not under `datasets`"),
    "a layer that it lacks": (
        {f"{C}.recipe": "topk_resid", f"{C}.layer": 0},
        r"layer 0 is not among the layers of recipe 'topk_resid': \[1, 2, 3, 4, 5\]",
    ),
    "no layer that it has": (
        {f"{C}.recipe": "sweep"},
        r"layer 4 is not among the layers of recipe 'sweep'.*Without a number",
    ),
    "CLS alone": (
        {f"{C}.recipe": "topk_text", f"{C}.layer": 5},
        r"'topk_text' was trained on CLS alone",
    ),
    "scored where it was chosen": (
        {f"{C}.masks.split": "train"},
        r"masks\.split: units are chosen on split 'train' and would be scored on the same",
    ),
    "an unknown key": ({f"{C}.masks.share": 0.5}, r"masks: unknown key `share`"),
    "quality of no recipe": (
        {f"{Q}.recipes": ["topk"]},
        r"quality\.recipes: 'topk' is not under `saes`",
    ),
    "quality of no layer": (
        {f"{Q}.layers": [0]},
        r"quality\.layers: recipe 'topk_resid' has none of the layers \[0\]; its layers are \[1, 2",
    ),
    "seeds of one SAE": (
        {f"{Q}.seeds": ["topk_resid"]},
        r"quality\.seeds: 'topk_resid' trains one SAE per layer",
    ),
    "an encoder of the model's name": (
        {f"{Q}.encoder": ENCODER | {"name": "demo"}},
        r"encoder\.name: 'demo' is the name of the model itself",
    ),
    "a factor that is no name": ({f"{Q}.factors.columns": ["a b"]}, r"factors\.columns\.0"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_become_sentences(mistake):
    edits, message = MISTAKES[mistake]
    with pytest.raises(ConfigError, match=message):
        validate_config(edited(edits), SCHEMA)


def plan_of(edits: dict | None = None) -> Plan:
    config = validate_config(edited(edits or {}), SCHEMA)
    return planned(config, workflow=ROOT / "workflow", src=ROOT / "src")


def jobs(plan: Plan, rule: str) -> list[Step]:
    """Return the steps of one rule, each once."""
    return list({s.name: s for s in plan.steps.values() if s.rule.name == rule}.values())


def made(plan: Plan, rule: str) -> Artefact:
    """Return the artefact of the only job of a rule."""
    [step] = jobs(plan, rule)
    return step.artefacts[0]


CONCEPTS = {"measure_concepts", "measure_masks"}
CONCEPTS |= {"concepts.png", "concept_masks.png", "concepts.csv", "concept_masks.csv"}
MASKS = {"measure_masks", "concept_masks.png", "concept_masks.csv"}
QUALITY = {"quality.csv", "quality_seeds.csv", "quality.md", "quality_seeds.md"}
SEEDS = {"quality_seeds.csv", "quality_seeds.md"}


def digests(plan: Plan) -> dict[str, str]:
    files = {name: plan.steps[f"{plan.results}/{name}"] for name in (CONCEPTS | QUALITY) - {
        "measure_concepts", "measure_masks"}}  # fmt: skip
    found = {name: step.artefacts[0].digest for name, step in files.items()}
    rules = ("measure_concepts", "measure_masks", "embed_images")
    return found | {rule: made(plan, rule).digest for rule in rules}


@pytest.mark.parametrize(
    "edits,changed",
    [
        ({f"{C}.threshold": 0.3}, CONCEPTS),
        ({f"{C}.recipe": "topk_resid"}, CONCEPTS),
        ({f"{C}.max_share": 0.9}, MASKS),
        ({f"{C}.examples": ["test/cat/cat_00001.png"]}, MASKS),
        ({f"{Q}.layers": [3]}, QUALITY - SEEDS),
        ({f"{Q}.seeds": ["frontier_topk"]}, SEEDS),
        ({f"{Q}.factors": None}, QUALITY),
        ({f"{Q}.encoder": ENCODER}, QUALITY | {"embed_images"}),
        ({"analyses.bootstrap_resamples": 100}, MASKS | QUALITY),
        ({"saes.frontier_topk.lr": 1.0e-3}, SEEDS),
    ],
)
def test_an_edit_changes_what_depends_on_it(edits, changed):
    before, after = digests(plan_of()), digests(plan_of(edits))
    assert {name for name in before if before[name] != after[name]} == changed


def test_without_masks_there_is_no_table_of_them():
    plan, usual = plan_of({f"{C}.masks": None}), plan_of()
    assert "results/concepts.csv" in plan.steps and "results/concept_masks.csv" not in plan.steps
    assert "results/concept_masks.csv" in usual.targets["all"]
    for one, split in ((plan, "train"), (usual, "test")):
        [step] = jobs(one, "measure_masks")
        assert step.wildcards["layer"] == "04"  # the last but one
        assert step.reads["store"].spec["split"] == split


def test_masks_wait_for_the_pixels_among_which_they_lie():
    plan = plan_of()
    [step] = jobs(plan, "measure_masks")
    assert plan.made_set("general") in step.upstream


def test_quality_is_measured_once_for_each_recipe_and_layer():
    plan = plan_of({f"{Q}.recipes": ["topk_resid", "frontier_topk"], f"{Q}.layers": [3]})
    found = [(s.wildcards["recipe"], s.wildcards["layer"]) for s in jobs(plan, "measure_quality")]
    assert len(found) == len(set(found)) == 1 + len(plan.analysis("quality")["seeds"])
    assert {("topk_resid", "03"), ("frontier_topk", "03"), ("frontier_vanilla", "03")} <= {*found}
    rows = plan.steps["results/quality_seeds.csv"].reads["rows"]
    shared = [row for row in rows if row in plan.steps["results/quality.csv"].reads["rows"]]
    assert len(shared) == 1
    assert "results/quality_seeds.csv" in plan.targets["extended"]
    assert "results/quality.csv" in plan.targets["all"]


def test_a_second_encoder_has_a_fingerprint_of_its_own():
    plan = plan_of({f"{Q}.encoder": ENCODER})
    [step] = jobs(plan, "embed_images")
    own = step.reads["clip"].artefact
    assert own.source == "model:other" and own.spec == ENCODER
    assert own.path == f"results/fingerprints/model-other-{own.digest}/COMPLETE.json"
    sources = [artefact.source for artefact in step.artefacts[0].sources()]
    assert sources == ["dataset:general", "model:other"]
    [usual] = jobs(plan_of(), "embed_images")
    assert usual.reads["clip"].artefact.source == "model:demo"
