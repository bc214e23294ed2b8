"""Every declaration of every config: a function gets only the declared reads and values."""

import ast
import inspect
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
from small_project import small_config

from clip_sae.analyses.planned import planned
from clip_sae.planning.config import load_config, validate_config
from clip_sae.planning.plan import Plan
from clip_sae.planning.reads import Images, Inside, leaves

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

from house_statements import each_step, paths_in, repeated, undeclared  # noqa: E402

SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
CONFIGS = {
    "demo": "config.yaml",
    "paper": "workflow/experiments/paper.yaml",
    "patchsae": "workflow/experiments/patchsae.yaml",
    "paper_small": "tests/paper_small.yaml",
    "small": None,
}


@pytest.fixture(scope="module", params=CONFIGS)
def plan(request, tmp_path_factory) -> Plan:
    if (file := CONFIGS[request.param]) is not None:
        config = load_config(ROOT / file, SCHEMA)
    else:
        config = small_config(tmp_path_factory.mktemp("small"))
        config["model"] |= {"model": "ViT-B-32", "pretrained": "random:0"}
        config = validate_config(config, SCHEMA)
    return planned(config, workflow=ROOT / "workflow", src=ROOT / "src")


def test_every_path_that_a_function_gets_is_read(plan):
    """A path among the arguments lies in the folder of something that the step reads."""
    lost = {step.name: undeclared(plan, step) for step in each_step(plan)}
    assert not {name: paths for name, paths in lost.items() if paths}


def test_a_path_that_no_read_declares_is_found(plan):
    """The check finds a path among the values, or next to a declared folder."""
    [step, *_] = [step for step in each_step(plan) if step.rule.name == "measure_firing"]
    for path in (f"{plan.results}/datasets.csv", f"{plan.results}/saes-of-another/x"):
        assert undeclared(plan, replace(step, values={"path": path})) == [path]
    assert repeated(replace(step, values={"a": [1, 2], "b": [1, 2], "c": 1, "d": 1})) == ["b"]
    assert repeated(replace(step, values={"saes": 1})) == ["saes"]


def test_values_hold_no_path_of_the_results(plan):
    """Outputs reach a function as reads; a path among the values has no digest."""
    for step in each_step(plan):
        found = [path for path in paths_in(step.values) if path.startswith(f"{plan.results}/")]
        assert not found, f"{step.name}: {found}"


def test_every_value_is_stated_once(plan):
    """No value has two names, among the values or among values and reads."""
    twice = {step.name: repeated(step) for step in each_step(plan)}
    assert not {name: values for name, values in twice.items() if values}


def test_functions_take_exactly_what_is_declared(plan):
    """Every keyword exists, every parameter without a default is given, and all are used."""
    for run in {step.run for step in each_step(plan)}:
        module, _, name = run.partition(":")
        function = getattr(import_module(module), name)
        parameters = inspect.signature(function).parameters
        takes_all = any(p.kind == p.VAR_KEYWORD for p in parameters.values())
        names = {n for n, p in parameters.items() if p.kind == p.KEYWORD_ONLY}
        needed = {n for n in names if parameters[n].default is inspect.Parameter.empty}
        used = _names_used(function)
        assert names <= used, f"{run} ignores {names - used}"
        for step in (s for s in each_step(plan) if s.run == run):
            given = set(step.arguments)
            assert needed <= given, f"{step.name} lacks {needed - given}"
            assert takes_all or given <= names, f"{step.name} has no use for {given - names}"


def _names_used(function) -> set[str]:
    tree = ast.parse(inspect.getsource(function))
    loads = (n for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load))
    return {node.id for node in loads}


def test_whatever_a_step_waits_for_is_made_by_some_step(plan):
    known = {artefact.path for artefact in plan.artefacts}
    for step in each_step(plan):
        lost = [up.path for up in step.upstream if up.path not in known]
        assert not lost, f"{step.name} waits for {lost}"


def test_pixels_of_made_sets_are_waited_for(plan):
    """A step that decodes a drawn or attacked set's images waits for the set itself."""
    for step in each_step(plan):
        for leaf in leaves(step.reads):
            if isinstance(leaf, Images) and isinstance(leaf.root, Inside):
                assert leaf.root.artefact.path in {up.path for up in step.upstream}


def test_every_rule_has_one_function_of_its_name(plan):
    """Rule = step = function; gather, draw and render serve many, each file with its own."""
    for step in each_step(plan):
        if step.rule.run is not None:
            assert step.run == step.rule.run, step.name
            if step.rule.name != "extract":
                assert step.run.rpartition(":")[2] == step.rule.name, step.name
