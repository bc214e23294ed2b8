"""Adaptation in a config: mistakes give sentences, edits change the right digests."""

import copy
from pathlib import Path

import pytest
import yaml

from clip_sae.analyses.adaptation.plan import Adaptation, extractions
from clip_sae.analyses.planned import planned
from clip_sae.planning.artefacts import Artefact
from clip_sae.planning.config import ConfigError, validate_config

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
DEMO = yaml.safe_load((ROOT / "config.yaml").read_text())
DEMO["model"]["model"] = f"local-dir:{ROOT / 'workflow/resources/demo_clip'}"
ANALYSIS = "analyses.adaptation"
CHECKPOINT = {"kind": "checkpoint", "pretrained": "tuned.safetensors"}


def edited(edits: dict) -> dict:
    """Return the demo's config with keys set, written `a.b.c`."""
    config = copy.deepcopy(DEMO)
    for dotted, value in edits.items():
        *parents, last = dotted.split(".")
        block = config
        for key in parents:
            block = block.setdefault(key, {})
        block[last] = value
    return config


def plan_of(edits: dict | None = None) -> Adaptation:
    config = validate_config(edited(edits or {}), SCHEMA)
    return planned(config, workflow=ROOT / "workflow", src=ROOT / "src").of("adaptation")


def trained(adaptation: Adaptation) -> set[str]:
    """Return the paths of all trained prompts."""
    steps = adaptation.plan.steps.items()
    return {path for path, step in steps if step.rule.name == "train_adaptation"}


def table(adaptation: Adaptation) -> Artefact:
    path = f"{adaptation.plan.results}/adaptation.csv"
    return adaptation.plan.steps[path].makes["accuracies"]


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
        r"coop\.n_visual: a method of kind 'coop' has no key",
    ),
    "a rate for a checkpoint": (
        {f"{ANALYSIS}.methods.mine": CHECKPOINT | {"lr": 0.1}},
        r"mine\.lr: a method of kind 'checkpoint' has no key",
    ),
    "no weights": (
        {f"{ANALYSIS}.methods.mine": {"kind": "checkpoint"}},
        r"mine: a checkpoint needs `pretrained`",
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
    adaptation = plan_of({f"{ANALYSIS}.methods.mine": CHECKPOINT})
    assert list(adaptation.kinds) == ["none", "coop", "vpt", "maple", "mine"]
    steps = (adaptation.plan.steps[path] for path in trained(adaptation))
    wildcards = {tuple(step.wildcards.values()) for step in steps}
    assert wildcards == {
        ("negative", m, seed) for m in ("coop", "vpt", "maple") for seed in ("0", "1", "2")
    }
    [mine] = adaptation.models("negative", "mine")["seeds"].values()
    assert mine.facts["pretrained"] == "tuned.safetensors"
    assert adaptation.models("negative", "none")["seeds"] == {"0": None}
    assert set(adaptation.models("negative", "vpt")["seeds"]) == {"0", "1", "2"}


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
    assert len(trained(before)) == 3 * 3 and len(trained(after)) == 4 * 4
    assert trained(before) < trained(after)
    assert table(after).digest != table(before).digest


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
    assert table(before).digest != table(after).digest


def test_a_depth_that_is_left_out_is_that_of_the_tower():
    adaptation = plan_of({f"{ANALYSIS}.methods.vpt.depth": None})
    assert adaptation.trained("negative", "vpt", 0).spec["method"]["depth"] == 6


def test_a_checkpoints_weights_are_a_source_of_their_own():
    adaptation = plan_of({f"{ANALYSIS}.methods.mine": CHECKPOINT})
    sources = {made.source for made in adaptation.answers("negative", "mine").sources()}
    assert sources == {"dataset:negative", "model:demo", "model:adapted-mine"}
    weights = adaptation.checkpoint("mine").artefact
    assert "/fingerprints/adapted-mine-" in weights.path
    assert weights.spec == {
        "name": "adapted-mine",
        "model": DEMO["model"]["model"],
        "pretrained": "tuned.safetensors",
    }


def test_a_job_waits_for_the_pixels_of_a_drawn_set_and_for_every_file_of_prompts():
    adaptation = plan_of()
    plan = adaptation.plan
    own = {plan.model.path, plan.index("negative").path, plan.made_set("negative").path}
    training = plan.steps[adaptation.trained("negative", "vpt", 0).path]
    assert {up.path for up in training.upstream} == own
    answering = plan.steps[adaptation.answers("negative", "vpt").path]
    prompts = {adaptation.trained("negative", "vpt", seed).path for seed in (0, 1, 2)}
    assert {up.path for up in answering.upstream} == own | prompts


def test_a_pass_fills_a_store_for_each_layer():
    stores = {"layers": [1, 4], "methods": ["vpt"], "seeds": [2]}
    adaptation = plan_of({f"{ANALYSIS}.stores": stores})
    [extraction] = extractions(adaptation.plan)
    assert [store.spec["layer"] for store in extraction.artefacts] == [1, 4]
    prompts = adaptation.trained("negative", "vpt", 2)
    for store in extraction.artefacts:
        assert store.path in adaptation.plan.files_of("adaptation")
        assert store.upstream[-1].path == prompts.path
    assert extractions(plan_of({f"{ANALYSIS}.stores": None}).plan) == []
