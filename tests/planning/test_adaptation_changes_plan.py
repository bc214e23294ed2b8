"""Adaptation changes in a config: mistakes give sentences, edits change the right digests."""

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


def edited(changes: dict | None = None, **adaptation) -> dict:
    config = copy.deepcopy(DEMO)
    section = config["analyses"]["adaptation"]
    section |= adaptation
    section["changes"] |= changes or {}
    return config


def plan_of(changes: dict | None = None, **adaptation) -> Plan:
    config = validate_config(edited(changes, **adaptation), SCHEMA)
    return planned(config, workflow=ROOT / "workflow", src=ROOT / "src")


MISTAKES = {
    "unknown recipe": ({"recipe": "vanila"}, r"changes\.recipe: 'vanila' is not under `saes`"),
    "another hook": ({"recipe": "vanilla_mlp"}, r"'vanilla_mlp' reconstructs mlp_out"),
    "no such layer": ({"recipe": "topk_resid", "layer": 0}, r"layer 0 is not among the layers"),
    "no last but one": ({"recipe": "frontier_topk"}, r"layer 4 is not among .*last but one"),
    "the last layer": ({"layer": 5}, r"changes\.layer: after the last layer, 5, .* CLS alone"),
    "CLS alone": (
        {"recipe": "topk_text", "layer": 5},
        r"changes\.recipe: 'topk_text' was trained on",
    ),
    "misspelt key": ({"strongst": 3}, r"unknown key `strongst`; did you mean `strongest`"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_sentences(mistake):
    edits, sentence = MISTAKES[mistake]
    with pytest.raises(ConfigError, match=sentence):
        validate_config(edited(edits), SCHEMA)


def digests(plan: Plan) -> dict[str, str]:
    """Return {name: digest} of every method's answers, the tables, the figure and the Markdown."""
    found = {}
    for step in plan.steps.values():
        if step.rule.name == "measure_changes":
            found["{dataset}/{method}".format(**step.wildcards)] = step.artefacts[0].digest
    final = [path for path in plan.files_of("adaptation") if "/adaptation_changes" in path]
    return found | {
        path: artefact.digest
        for path in final
        if path in plan.steps
        for artefact in plan.steps[path].artefacts
        if artefact.path == path
    }


def changed(plan: Plan) -> set[str]:
    before, after = digests(plan_of()), digests(plan)
    return {name for name in before if before[name] != after.get(name)}


ALL = set(digests(plan_of()))


@pytest.mark.parametrize(
    "edit", [{"threshold": 0.1}, {"strongest": 5}, {"random_seeds": 5}, {"layer": 3}], ids=str
)
def test_edits_of_the_question_change_all_answers(edit):
    assert changed(plan_of(edit)) == ALL


def test_another_rate_of_one_method_leaves_the_others():
    methods = copy.deepcopy(DEMO["analyses"]["adaptation"]["methods"])
    methods["coop"]["lr"] = 0.01
    found = changed(plan_of(methods=methods))
    [dataset] = DEMO["analyses"]["adaptation"]["datasets"]
    assert found == ALL - {f"{dataset}/vpt", f"{dataset}/maple"}


def test_a_shot_more_changes_all():
    assert changed(plan_of(shots=8)) == ALL


def test_every_method_is_measured_but_not_the_frozen_model():
    plan = plan_of()
    [dataset] = DEMO["analyses"]["adaptation"]["datasets"]
    measured = [step for step in plan.steps.values() if step.rule.name == "measure_changes"]
    assert [step.wildcards for step in measured] == [
        {"dataset": dataset, "method": method} for method in ("coop", "vpt", "maple")
    ]
    assert {step.arguments["sae"]["layer"] for step in measured} == {4}
    assert len(ALL) == 3 + 3 + 2  # answers, tables, the figure and the Markdown


def test_without_the_question_there_are_no_steps():
    config = edited()
    config["analyses"]["adaptation"]["changes"] = None
    plan = planned(validate_config(config, SCHEMA), workflow=ROOT / "workflow", src=ROOT / "src")
    assert digests(plan) == {}
