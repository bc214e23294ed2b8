"""What a steering measurement depends on, and what it does not."""

from pathlib import Path

import pytest
import yaml

from clip_sae.config import validate_config
from clip_sae.plan import Plan
from clip_sae.steering_plan import SteeringPlan
from clip_sae.vocabulary import GOOGLE_20K_SHA256

ROOT = Path(__file__).resolve().parents[1]
SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.yaml"


@pytest.fixture
def steering(monkeypatch):
    """SteeringPlan of the demo with keys of `analyses.steering` set."""
    monkeypatch.chdir(ROOT)  # the demo CLIP's path is relative

    def plan(**edits):
        config = yaml.safe_load((ROOT / "config.yaml").read_text())
        config["analyses"]["steering"] |= edits
        config = validate_config(config, SCHEMA)
        return SteeringPlan(Plan(config, workflow=ROOT / "workflow", src=ROOT / "src"))

    return plan


def paths(plan, *kinds):
    return [plan.vocabulary.path, *(plan.measured(kind, 2).path for kind in kinds)]


def test_thresholds_and_strengths_leave_the_vocabulary_alone(steering):
    vocabulary, latents = paths(steering(), "latent")
    for edit in ({"gamma": 0.2}, {"strengths": [0, 150]}, {"images": 33}, {"error": "drop"}):
        other = paths(steering(**edit), "latent")
        assert other[0] == vocabulary and other[1] != latents, edit


def test_the_template_is_of_the_vocabulary_and_of_all_that_follows(steering):
    one, other = (paths(steering(**edit), "latent") for edit in ({}, {"template": "a {}"}))
    assert one[0] != other[0] and one[1] != other[1]


def test_a_mask_changes_figures_only(steering):
    plain = paths(steering(), "latent")
    masked = paths(steering(vocabulary={"words": "demo", "mask": "words.txt"}), "latent")
    assert plain == masked


def test_the_content_of_a_word_list_counts_and_its_name_is_in_the_path(steering, tmp_path):
    file = tmp_path / "list.txt"
    found = []
    for text in ("a\nb\n", "a\nc\n", "a\nb\n"):
        file.write_text(text)
        found.append(steering(vocabulary={"words": str(file)}).vocabulary.path)
    assert found[0] == found[2] != found[1]
    assert "/vocabulary/list-" in found[0]
    # a list that is not there yet is planned all the same; its hash, where given, stands for it
    absent = steering(vocabulary={"words": "20k.txt", "sha256": GOOGLE_20K_SHA256})
    assert absent.vocabulary_spec["content"] == GOOGLE_20K_SHA256


def test_sizes_go_to_the_kinds_that_they_are_of(steering):
    plan = steering(units=100, baseline_units=50, grid_units=7)
    n = {kind: plan.spec(kind, 0)["n_units"] for kind in ("latent", "neuron", "random", "pca")}
    assert n == {"latent": 100, "neuron": 100, "random": 50, "pca": 100}
    grids = [plan.spec("latent", layer)["grid_units"] for layer in range(6)]
    assert grids == [7] * 5 + [None]
    assert [plan.spec("neuron", layer)["grid_units"] for layer in (0, 5)] == [0, None]
    base, other = steering(), steering(baseline_units=50)
    assert paths(base, "latent", "neuron") == paths(other, "latent", "neuron")
    assert paths(base, "random")[1] != paths(other, "random")[1]


def test_traces_are_of_the_last_layer_unless_latents_are_named(steering):
    assert steering().trace_layer == 5 and steering().trace_spec["units"] is None
    named = steering(traced={"layer": 3, "units": [4, 9]})
    assert named.trace_layer == 3 and named.trace_spec["units"] == [4, 9]
    assert named.traces.digest != steering().traces.digest
    assert paths(named, "latent") == paths(steering(), "latent")


def test_labels_tell_saes_apart(steering):
    labels = [steering().label(kind, 0) for kind in ("latent", "random_sae", "pca")]
    assert labels == ["vanilla_resid", "vanilla_resid untrained", "pca"]
