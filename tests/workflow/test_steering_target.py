"""Steerability as targets: its tables, and the edits that measure again."""

import re
import shutil

import pandas as pd
import pytest
from small_project import CLASSES, Project

from clip_sae.clip.vocabulary import EmbeddedVocabulary

TABLES = ("results/steerability_units.csv.gz", "results/steerability_layers.csv",
          "results/steerability_grid.csv.gz", "results/steerability_rarefaction.csv",
          "results/steering_traces.csv")  # fmt: skip
BASELINES = ("results/steerability_baselines_layers.csv",)
MEASURE = {"measure_steering"}
AFTER = {"gather", "measure_rarefaction", "measure_traces"}


@pytest.fixture
def steered(project: Project) -> Project:
    """The built project with steering in its config."""
    config = project.config
    config["analyses"]["steering"] = {
        "recipe": "topk_resid",
        "dataset": "general",
        "split": "test",
        "images": 3,
        "vocabulary": {"words": [*CLASSES, "image", "picture"]},
        "strengths": [0, 20, 150],
        "units": 12,
        "comparisons": ["neuron"],
        "baselines": ["random"],
        "baseline_units": 8,
    }
    project.write_config(config)
    return project


def test_tables_hold_every_kind_and_edits_measure_what_they_change(steered: Project):
    steered.run("--cores", "2", *TABLES, *BASELINES)
    results = steered.path / "results"
    units = pd.read_csv(results / "steerability_units.csv.gz", dtype={"strength": str})
    counts = units.groupby(["kind", "strength"]).size().to_dict()
    assert counts == {("latent", "150.0"): 12, ("latent", "inf"): 12,
                      ("neuron", "150.0"): 12, ("neuron", "inf"): 12}  # fmt: skip
    assert units.steerability.between(0, 2).all() and units.unit.max() < 32
    layers = pd.read_csv(results / "steerability_layers.csv")
    assert set(layers.n_sampled_from) == {32, 16} and (layers.n_images == 3).all()
    assert (layers.n_words == 5).all()
    baselines = pd.read_csv(results / BASELINES[0].split("/")[1])
    assert set(baselines.kind) == {"latent", "neuron", "random"}
    assert set(baselines[baselines.kind == "random"].n_units) == {8}
    traces = pd.read_csv(results / "steering_traces.csv")
    assert set(traces.scope) == {"image0", "mean"} and set(traces.layer) == {1}
    [path] = (results / "vocabulary").glob("*.npz")
    assert EmbeddedVocabulary.load(path).words == (*CLASSES, "image", "picture")

    assert steered.planned_rules(*TABLES, *BASELINES) == set()
    whole = {table: (steered.path / table).read_bytes() for table in TABLES}
    shutil.rmtree(results / "measurements/steering")
    for table in (*TABLES, *BASELINES):
        (steered.path / table).unlink()
    steered.run("--cores", "2", *TABLES, *BASELINES, "--set-scatter", "units=2")
    assert {table: (steered.path / table).read_bytes() for table in TABLES} == whole
    assert not list(results.rglob("blocks")) and steered.planned_rules(*TABLES, *BASELINES) == set()
    edits = {
        "vocabulary.mask": ("words.txt", set()),
        "gamma": (0.2, MEASURE | AFTER),
        "baseline_units": (9, set()),
        "traced": ({"layer": 1, "units": [3]}, {"measure_traces"}),
        "template": ("a {}", MEASURE | AFTER | {"embed_vocabulary"}),
    }
    config = steered.config
    for key, (value, expected) in edits.items():
        steered.write_config(config)
        steered.edit_config(f"analyses.steering.{key}", value)
        assert steered.planned_rules(*TABLES) == expected, key
        kinds = {"latent", "neuron"} if expected >= MEASURE else set()
        assert kinds_measured(steered, *TABLES) == kinds, key
    steered.write_config(config)
    steered.edit_config("analyses.steering.baseline_units", 9)
    assert steered.planned_rules(*BASELINES) == {"measure_steering", "gather"}
    assert kinds_measured(steered, *BASELINES) == {"random"}


def kinds_measured(project: Project, *targets: str) -> set[str]:
    """Return the kinds of unit that a dry run would measure."""
    text = project.run("--dry-run", *targets)
    return set(re.findall(r"output: \S*/measurements/steering/(\w+)-L01-", text))


def test_a_missing_word_list_is_told_by_the_job(steered: Project):
    steered.edit_config("analyses.steering.vocabulary.words", "20k.txt")
    done = steered.snakemake("--cores", "1", "--until", "embed_vocabulary", "--", TABLES[0])
    assert done.returncode != 0
    assert "the word list 20k.txt does not exist; write the path" in done.stdout + done.stderr
