"""Names in a config become folders and files: none may leave the results or hold a wildcard."""

import copy
from pathlib import Path

import pytest
import yaml

from clip_sae.planning.config import ConfigError, validate_config

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
DEMO = yaml.safe_load((ROOT / "config.yaml").read_text())
# Mappings whose keys are part of paths.
OWN_NAMES = (
    "datasets",
    "saes",
    "analyses.suppression.variants.cases",
    "analyses.adaptation.datasets",
    "analyses.adaptation.methods",
)
# Mappings whose keys must be names of data sets.
NAMES_OF_SETS = ("analyses.suppression.sets", "analyses.typographic.sets")
# Values that are names, or paths below a folder.
VALUES = (
    "model.name",
    "analyses.quality.encoder.name",
    "analyses.suppression.sets.waterbirds.tables.0",
    "analyses.concepts.masks.folder",
    "analyses.quality.factors.file",
)


def demo() -> dict:
    config = copy.deepcopy(DEMO)
    config["analyses"]["quality"]["encoder"] = {"name": "x", "model": "ViT-B-32"}
    return config


def parent(config: dict, dotted: str) -> tuple:
    """Return the mapping or list in which the last part of `a.b.c` is a key, and that key."""
    *parents, last = (int(part) if part.isdigit() else part for part in dotted.split("."))
    for key in parents:
        config = config[key]
    return config, last


def rename_first(config: dict, dotted: str, name: str) -> None:
    section, last = parent(config, dotted)
    first, *others = section[last].items()
    section[last] = {name: first[1]} | dict(others)


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../b", "a\0b", "{wildcard}"])
def test_names_cannot_leave_their_folder(name):
    config = demo()
    for dotted in OWN_NAMES:
        rename_first(config, dotted, name)
    for dotted in VALUES:
        section, last = parent(config, dotted)
        section[last] = name
    with pytest.raises(ConfigError) as refused:
        validate_config(config, SCHEMA)
    lines = str(refused.value).splitlines()
    allowed = VALUES[3:] if name == "{wildcard}" else ()  # existing files, not names
    for dotted in {*OWN_NAMES, *VALUES} - {*allowed}:
        assert any(f"  {dotted}: {name!r} does not match" in line for line in lines), dotted


@pytest.mark.parametrize("dotted", NAMES_OF_SETS)
def test_names_of_sets_are_those_under_datasets(dotted):
    config = demo()
    rename_first(config, dotted, "../evil")
    with pytest.raises(ConfigError, match=r"'\.\./evil' is not under `datasets`"):
        validate_config(config, SCHEMA)


@pytest.mark.parametrize("name", ["a/{x}", "a\nb"])
def test_the_results_folder_has_no_wildcards(name):
    with pytest.raises(ConfigError, match="^the config has 1 mistake:\n  results: "):
        validate_config({**DEMO, "results": name}, SCHEMA)


@pytest.mark.parametrize("name", ["../elsewhere/results", "/scratch/me/results-2"])
def test_the_results_folder_may_be_anywhere(name):
    """The owner of the config decides where results go; data must not."""
    assert validate_config({**DEMO, "results": name}, SCHEMA)["results"] == name


def test_max_pixels_cannot_exceed_pillows_limit():
    config = demo()
    next(iter(config["datasets"].values()))["max_pixels"] = 10**9
    with pytest.raises(ConfigError, match="max_pixels: 1000000000 is greater than the maximum"):
        validate_config(config, SCHEMA)
