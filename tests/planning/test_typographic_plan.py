"""Typographic defences in a config: mistakes give sentences, edits change the right digests."""

import copy
from functools import cache
from pathlib import Path

import pytest
import yaml

from clip_sae.analyses.planned import planned
from clip_sae.analyses.typographic.plan import PREFIXES
from clip_sae.planning.config import ConfigError, validate_config

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
DEMO = yaml.safe_load((ROOT / "config.yaml").read_text())
DEMO["model"]["model"] = f"local-dir:{ROOT / 'workflow/resources/demo_clip'}"
ANALYSIS = "analyses.typographic"


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


MISTAKES = {
    "two origins": (
        {"datasets.attacked.root": "data"},
        r"datasets\.attacked: give either `root` .* `attack` .*`augment` .* or `draw`",
    ),
    "an attack of another kind": (
        {"datasets.attacked.kind": "typographic"},
        r"datasets\.attacked: `attack` requires `kind: attacked_pairs` and vice versa",
    ),
    "an unknown source": (
        {"datasets.attacked.attack.dataset": "genral"},
        r"attack\.dataset: 'genral' is not under `datasets`; its entries: general, typographic",
    ),
    "a copy of a copy": (
        {"datasets.attacked.attack.dataset": "attacked"},
        r"attack\.dataset: 'attacked' is itself an attacked copy",
    ),
    "a copy of images without files": (
        {"datasets.attacked.attack.dataset": "waterbirds_augmented"},
        r"'waterbirds_augmented' is an augmented set, whose images have no files",
    ),
    "sizes upside down": (
        {"datasets.attacked.attack.font_size": [0.4, 0.2]},
        r"font_size: write the smaller share first; found 0\.4, 0\.2",
    ),
    "no validation pairs": (
        {"datasets.attacked.attack.splits": {"train": 10}},
        r"attacked\.attack\.splits: latents are found on `train` .* but only train is copied",
    ),
    "pairs that are none": (
        {f"{ANALYSIS}.pairs": "typographic"},
        r"pairs: 'typographic' is of kind 'typographic'; name a data set of kind attacked_pairs",
    ),
    "unknown recipe": (
        {f"{ANALYSIS}.recipes": ["topk_txt"]},
        r"typographic\.recipes: 'topk_txt' is not under `saes`",
    ),
    "another hook": (
        {f"{ANALYSIS}.recipes": ["vanilla_mlp"]},
        r"recipes: 'vanilla_mlp' reconstructs mlp_out; the defence edits resid_post",
    ),
    "no SAE of the last layer": (
        {"saes.topk_text.layers": [4]},
        r"recipes: 'topk_text' has no SAE of the last layer, 5; its layers are \[4\]",
    ),
    "unknown set": (
        {f"{ANALYSIS}.sets.rta100": {"split": "test"}},
        r"typographic\.sets: 'rta100' is not under `datasets`",
    ),
    "a prompt without its class": (
        {f"{ANALYSIS}.sets.general.template": "a photo"},
        r"sets\.general\.template: 'a photo' has no \{\} for the class",
    ),
    "grid upside down": (
        {f"{ANALYSIS}.thresholds": {"low": 1.0, "high": 0.1}},
        r"thresholds: low \(1\.0\) must be below high \(0\.1\)",
    ),
    "misspelt key": ({f"{ANALYSIS}.cosine": [0.2]}, r"unknown key `cosine`; did you mean"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_sentences(mistake):
    edits, sentence = MISTAKES[mistake]
    with pytest.raises(ConfigError, match=sentence):
        validate_config(edited(edits), SCHEMA)


def plan_of(edits: dict | None = None):
    """Return the plan of the demo's config with these edits."""
    config = validate_config(edited(edits or {}), SCHEMA)
    return planned(config, workflow=ROOT / "workflow", src=ROOT / "src")


def digests(edits: dict | None = None) -> dict[str, str]:
    """Return {output: digest} of the analysis."""
    plan = plan_of(edits)
    typographic = plan.of("typographic")
    found = {"copy": plan.made_set("attacked"), "choice": typographic.choice["units"]}
    found |= {f"sweep {kind}": typographic.swept(kind) for kind in typographic.kinds}
    found |= {name: typographic.prefix(name) for name in PREFIXES}
    found |= {f"rows {name}": typographic.evaluated(name) for name in typographic.sets}
    made = {artefact.path: artefact for artefact in plan.artefacts}
    tables = typographic.tables.items()
    found |= {protocol: made[f"results/{table}.csv"] for protocol, table in tables}
    if typographic.heads:
        found["heads"] = typographic.heads
    return {name: artefact.digest for name, artefact in found.items()}


@cache
def unedited() -> dict[str, str]:
    return digests()


ROWS = {"rows typographic", "rows general", "all_classes", "two_way"}
SWEEPS = {f"sweep {kind}" for kind in ("topk_text", "topk_resid", "neurons")}
AFTER_CHOICE = {"choice", "prefix_on_ablated"} | ROWS
EVERYTHING = {"copy", "heads", "prefix"} | SWEEPS | AFTER_CHOICE
EDITS = {
    "datasets.attacked.attack.seed": (1, EVERYTHING),
    "activations.preprocess": ("squash", EVERYTHING),
    f"{ANALYSIS}.thresholds": ({"low": 0.1, "high": 1.0}, SWEEPS | AFTER_CHOICE),
    f"{ANALYSIS}.cosines": ([0.3], SWEEPS | AFTER_CHOICE),
    f"{ANALYSIS}.max_clean_cost": (0.02, AFTER_CHOICE | {"heads"}),
    f"{ANALYSIS}.template": ("a {}", SWEEPS | AFTER_CHOICE | {"heads"}),
    f"{ANALYSIS}.prefix": ({"lr": 0.1}, {"prefix", "prefix_on_ablated"} | ROWS),
    f"{ANALYSIS}.prefix_templates": ("none", {"prefix", "prefix_on_ablated"} | ROWS),
    f"{ANALYSIS}.random_seeds": (2, ROWS),
    f"{ANALYSIS}.heads": ({"max_heads": 3}, ROWS | {"heads"}),
    f"{ANALYSIS}.sets.typographic.template": (
        "a {}", {"rows typographic", "all_classes", "two_way"},
    ),
    f"{ANALYSIS}.sets.typographic.paper": ("paint", set()),
    "analyses.bootstrap_resamples": (300, ROWS),
    "saes.topk_text.k": (8, {"sweep topk_text"} | AFTER_CHOICE),
    "saes.topk_resid.k": (8, {"sweep topk_resid"} | AFTER_CHOICE),
    "zeroshot.templates": ("none", set()),
}  # fmt: skip


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_changes_exactly_what_depends_on_it(edit):
    value, expected = EDITS[edit]
    before, after = unedited(), digests({edit: value})
    assert {name for name in before if before[name] != after[name]} == expected


def test_files_that_hold_the_name_of_a_recipe_follow_it():
    other = {"saes.other": edited({})["saes"]["topk_text"]}
    renamed = other | {f"{ANALYSIS}.recipes": ["other", "topk_resid"]}
    before, after = digests(other), digests(renamed)
    shared = {name for name in before if name in after and before[name] == after[name]}
    assert shared == {"copy", "heads", "prefix", "sweep topk_resid", "sweep neurons"}


def test_what_is_left_out_is_not_planned():
    assert "heads" not in digests({f"{ANALYSIS}.heads": None})
    one = {"split": "test", "protocols": ["all_classes"]}
    assert "two_way" not in digests({f"{ANALYSIS}.sets": {"typographic": one}})


def test_no_choice_sees_a_benchmark():
    """The sets of Table 2 never reach the choice or the training."""
    typographic = plan_of().of("typographic")
    made = [*typographic.choice.values(), typographic.heads, *map(typographic.prefix, PREFIXES)]
    for name, place in typographic.sets.items():
        store = typographic.store(name, place["split"])
        assert all(store.path not in {a.path for a in one.closure()} for one in made)
        assert store.path in {a.path for a in typographic.evaluated(name).closure()}


def test_jobs_read_every_file_that_they_open():
    plan = plan_of()
    typographic = plan.of("typographic")
    heads = plan.steps[typographic.heads.path]
    read = {artefact.path for artefact in heads.upstream}
    # the boxes of the words lie next to the images
    assert {plan.index("attacked").path, plan.made_set("attacked").path} <= read
    rows = plan.steps[typographic.evaluated("general").path]
    read = {artefact.path for artefact in rows.upstream}
    assert {plan.index("general").path, plan.made_set("general").path} <= read
    assert {typographic.swept(kind).path for kind in typographic.kinds} <= read


def test_sweeps_are_named_by_label_and_labels_of_a_recipe_share_one():
    typographic = plan_of({"saes.topk_text.k": [8, 16]}).of("typographic")
    sweeps = typographic.sweeps
    assert [*sweeps] == ["neurons", "topk_resid", "topk_text/k-16", "topk_text/k-8"]
    assert sweeps["topk_text/k-8"] is sweeps["topk_text/k-16"]


def test_a_config_without_the_analysis_has_none_of_its_steps():
    config = edited({})
    del config["analyses"]["typographic"]
    plan = planned(validate_config(config, SCHEMA), workflow=ROOT / "workflow", src=ROOT / "src")
    assert plan.of("typographic") is None
    assert not [step for step in plan.steps.values() if "typographic:" in step.run]
