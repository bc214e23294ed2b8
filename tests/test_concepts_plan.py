"""Concepts and quality in a config: mistakes are sentences, edits change what follows."""

import copy
from pathlib import Path

import pytest
import yaml

from clip_sae.concepts_plan import ConceptsPlan
from clip_sae.config import ConfigError, validate_config
from clip_sae.plan import Plan
from clip_sae.quality_plan import QualityPlan

ROOT = Path(__file__).resolve().parents[1]
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
DEMO = yaml.safe_load((ROOT / "config.yaml").read_text())
DEMO["model"]["model"] = f"local-dir:{ROOT / 'workflow/resources/demo_clip'}"
C, Q = "analyses.concepts", "analyses.quality"
ENCODER = {"name": "other", "model": "ViT-B-32", "pretrained": "laion2b_s34b_b79k"}


def edited(edits: dict) -> dict:
    """The demo's config with keys set, written `a.b.c`."""
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


def planned(edits: dict | None = None) -> tuple[ConceptsPlan, QualityPlan]:
    config = validate_config(edited(edits or {}), SCHEMA)
    plan = Plan(config, workflow=ROOT / "workflow", src=ROOT / "src")
    return ConceptsPlan(plan), QualityPlan(plan)


def digests(concepts: ConceptsPlan, quality: QualityPlan) -> dict[str, str]:
    found = {"measured": concepts.measured.digest, "masks": concepts.masks.digest}
    found |= {"scatter": concepts.scatter.digest, "pictures": concepts.pictures.digest}
    found |= {name: table.digest for name, table in concepts.tables.items()}
    found |= {name: quality.table(name).digest for name in ("quality", "quality_seeds")}
    return found | {"embeddings": quality.embeddings.digest}


CONCEPTS = {"measured", "masks", "scatter", "pictures", "concepts", "concept_masks"}
MASKS = {"masks", "pictures", "concept_masks"}
QUALITY = {"quality", "quality_seeds"}


@pytest.mark.parametrize(
    "edits,changed",
    [
        ({f"{C}.threshold": 0.3}, CONCEPTS),
        ({f"{C}.recipe": "topk_resid"}, CONCEPTS),
        ({f"{C}.max_share": 0.9}, MASKS),
        ({f"{C}.examples": ["test/cat/cat_00001.png"]}, MASKS),
        ({f"{Q}.layers": [3]}, {"quality"}),
        ({f"{Q}.seeds": ["frontier_topk"]}, {"quality_seeds"}),
        ({f"{Q}.factors": None}, QUALITY),
        ({f"{Q}.encoder": ENCODER}, QUALITY | {"embeddings"}),
        ({"analyses.bootstrap_resamples": 100}, MASKS | QUALITY),
        ({"saes.frontier_topk.lr": 1.0e-3}, {"quality_seeds"}),
    ],
)
def test_an_edit_changes_what_depends_on_it(edits, changed):
    before, after = digests(*planned()), digests(*planned(edits))
    assert {name for name in before if before[name] != after[name]} == changed


def test_without_masks_there_is_no_table_of_them():
    concepts, _ = planned({f"{C}.masks": None})
    assert [*concepts.tables] == ["concepts"] and concepts.shown_split == "train"
    assert planned()[0].layer == 4  # the last but one
    assert planned()[0].shown_split == "test"


def test_seeds_are_told_from_other_variants():
    _, quality = planned()
    groups = quality.groups("frontier_vanilla", 3)
    assert [*groups] == [f"l1_coefficient-{value}" for value in ("0.6", "1", "1.6", "2.5", "3.5")]
    assert groups["l1_coefficient-1.6"] == [f"l1_coefficient-1.6_seed-{seed}" for seed in range(3)]
    assert quality.groups("topk_resid", 4) == {"base": ["base"]}
    assert quality.parts("quality") == [("topk_resid", 4), ("vanilla_resid", 4)]
    assert ("frontier_topk", 3) in quality.parts("quality_seeds")


def test_a_second_encoder_has_a_fingerprint_of_its_own():
    _, quality = planned({f"{Q}.encoder": ENCODER})
    assert not quality.circular and planned()[1].circular
    assert quality.fingerprint.source == "model:other"
    sources = [artefact.source for artefact in quality.embeddings.sources()]
    assert sources == ["dataset:general", "model:other"]
    assert planned()[1].fingerprint.source == "model:demo"
