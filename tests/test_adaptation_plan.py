"""Adaptation in a config: mistakes are sentences, edits change what depends on them."""

import copy
from pathlib import Path

import pytest
import yaml

from clip_sae.adaptation_plan import AdaptationPlan
from clip_sae.config import ConfigError, validate_config
from clip_sae.plan import Plan

ROOT = Path(__file__).resolve().parents[1]
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
DEMO = yaml.safe_load((ROOT / "config.yaml").read_text())
DEMO["model"]["model"] = f"local-dir:{ROOT / 'workflow/resources/demo_clip'}"
ANALYSIS = "analyses.adaptation"
CHECKPOINT = {"kind": "checkpoint", "pretrained": "tuned.safetensors"}


def edited(edits: dict) -> dict:
    """The demo's config with keys set, written `a.b.c`."""
    config = copy.deepcopy(DEMO)
    for dotted, value in edits.items():
        *parents, last = dotted.split(".")
        block = config
        for key in parents:
            block = block.setdefault(key, {})
        block[last] = value
    return config


def plan_of(edits: dict | None = None) -> AdaptationPlan:
    config = validate_config(edited(edits or {}), SCHEMA)
    return AdaptationPlan(Plan(config, workflow=ROOT / "workflow", src=ROOT / "src"))


MISTAKES = {
    "unknown set": (
        {f"{ANALYSIS}.datasets": {"negatives": {}}},
        r"adaptation\.datasets: 'negatives' is not under `datasets`",
    ),
    "no place for the name": (
        {f"{ANALYSIS}.datasets.negative.template": "a photo."},
        r"negative\.template: 'a photo\.' needs one \{\} for the class",
    ),
    "tested on the training images": (
        {f"{ANALYSIS}.datasets.negative.test": "train"},
        r"trained on 'train' and tested on the same images",
    ),
    "a method called none": (
        {f"{ANALYSIS}.methods.none": {"kind": "checkpoint", "pretrained": "x.pt"}},
        r"'none' is the name of the frozen model",
    ),
    "no rate": ({f"{ANALYSIS}.methods.coop.lr": None}, r"methods\.coop: kind 'coop' needs `lr`"),
    "a key of another kind": (
        {f"{ANALYSIS}.methods.coop.n_visual": 2},
        r"coop\.n_visual: a method of kind 'coop' has no such key",
    ),
    "a rate for a checkpoint": (
        {f"{ANALYSIS}.methods.mine": CHECKPOINT | {"lr": 0.1}},
        r"mine\.lr: a method of kind 'checkpoint' has no such key",
    ),
    "no weights": (
        {f"{ANALYSIS}.methods.mine": {"kind": "checkpoint"}},
        r"mine: a checkpoint is named by `pretrained`",
    ),
    "deeper than the tower": (
        {f"{ANALYSIS}.methods.vpt.depth": 9},
        r"vpt\.depth: 9 blocks get prompts, but the tower has 6",
    ),
    "unknown kind": ({f"{ANALYSIS}.methods.vpt.kind": "vtp"}, r"'vtp' is not one of .*'vpt'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gets_its_sentence(mistake):
    edits, sentence = MISTAKES[mistake]
    with pytest.raises(ConfigError, match=sentence):
        validate_config(edited(edits), SCHEMA)


def test_every_method_is_trained_with_every_seed():
    plan = plan_of({f"{ANALYSIS}.methods.mine": CHECKPOINT})
    assert plan.evaluated_methods == ["none", "coop", "vpt", "maple", "mine"]
    expected = {("negative", m, seed) for m in ("coop", "vpt", "maple") for seed in (0, 1, 2)}
    assert set(plan.trainings) == expected
    assert plan.adapted("negative", "mine")["source"]["pretrained"] == "tuned.safetensors"
    assert set(plan.adapted("negative", "vpt")["seeds"]) == {"0", "1", "2"}


def test_a_seed_or_method_that_is_added_trains_itself_alone():
    before = plan_of()
    after = plan_of(
        {
            f"{ANALYSIS}.seeds": [0, 1, 2, 3],
            f"{ANALYSIS}.methods.vpt_shallow": {
                **DEMO["analyses"]["adaptation"]["methods"]["vpt"],
                "depth": 1,
            },
        }
    )
    for training in before.trainings:
        assert after.trained(*training).path == before.trained(*training).path
    assert len(after.trainings) == 4 * 4
    assert after.tables["adaptation"].digest != before.tables["adaptation"].digest


@pytest.mark.parametrize(
    ("edits", "changed"),
    [
        ({f"{ANALYSIS}.methods.vpt.lr": 0.01}, {"vpt"}),
        ({f"{ANALYSIS}.shots": 4}, {"coop", "vpt", "maple"}),
        ({f"{ANALYSIS}.datasets.negative.test": "val"}, set()),
        ({f"{ANALYSIS}.datasets.negative.template": "a {}"}, {"coop", "vpt", "maple"}),
    ],
)
def test_an_edit_trains_what_depends_on_it(edits, changed):
    before, after = plan_of(), plan_of(edits)
    for method in ("coop", "vpt", "maple"):
        one, other = (plan.trained("negative", method, 0) for plan in (before, after))
        assert (one.digest != other.digest) == (method in changed)
    assert before.tables["adaptation"].digest != after.tables["adaptation"].digest


def test_a_depth_that_is_left_out_is_that_of_the_tower():
    plan = plan_of({f"{ANALYSIS}.methods.vpt.depth": None})
    assert plan.training_spec("negative", "vpt", 0)["method"]["depth"] == 6


def test_a_checkpoints_weights_are_a_source_of_their_own():
    plan = plan_of({f"{ANALYSIS}.methods.mine": CHECKPOINT})
    sources = {made.source for made in plan.evaluated("negative", "mine").sources()}
    assert sources == {"dataset:negative", "model:demo", "model:adapted-mine"}
