"""The edits of a config that change a steering measurement, and those that do not."""

from pathlib import Path

import pytest
import yaml

from clip_sae.analyses.planned import planned
from clip_sae.clip.vocabulary import GOOGLE_20K_SHA256
from clip_sae.planning.config import validate_config
from clip_sae.planning.reads import artefacts_of

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.yaml"


class Steering:
    """The steps of `analyses.steering` of a plan."""

    def __init__(self, plan):
        self.plan = plan
        self.by_name = {step.name: step for step in plan.steps.values()}

    def step(self, rule, *wildcards):
        return self.by_name["_".join([rule, *wildcards])]

    def made(self, rule, *wildcards):
        [artefact] = self.step(rule, *wildcards).artefacts
        return artefact

    @property
    def vocabulary(self):
        [step] = [s for s in self.by_name.values() if s.rule.name == "embed_vocabulary"]
        return step.artefacts[0]

    def values(self, kind, layer):
        return self.step("measure_steering", kind, f"{layer:02d}").values

    def paths(self, *kinds):
        measured = (self.made("measure_steering", kind, "02") for kind in kinds)
        return [self.vocabulary.path, *(artefact.path for artefact in measured)]


@pytest.fixture
def steering(monkeypatch):
    """Steps of the demo with keys of `analyses.steering` set."""
    monkeypatch.chdir(ROOT)  # the demo CLIP's path is relative

    def plan(**edits):
        config = yaml.safe_load((ROOT / "config.yaml").read_text())
        config["analyses"]["steering"] |= edits
        config = validate_config(config, SCHEMA)
        return Steering(planned(config, workflow=ROOT / "workflow", src=ROOT / "src"))

    return plan


def test_thresholds_and_strengths_leave_the_vocabulary_alone(steering):
    vocabulary, latents = steering().paths("latent")
    for edit in ({"gamma": 0.2}, {"strengths": [0, 150]}, {"images": 33}, {"error": "drop"}):
        other = steering(**edit).paths("latent")
        assert other[0] == vocabulary and other[1] != latents, edit


def test_the_template_changes_the_vocabulary_and_all_that_follows(steering):
    one, other = (steering(**edit).paths("latent") for edit in ({}, {"template": "a {}"}))
    assert one[0] != other[0] and one[1] != other[1]


def test_a_mask_changes_figures_only(steering, tmp_path):
    mask = tmp_path / "words.txt"
    mask.write_text("gun\n")
    plain, masked, other = (
        steering(vocabulary={"words": "demo", "mask": path}) for path in (None, str(mask), "no.txt")
    )
    assert plain.paths("latent") == masked.paths("latent")
    assert plain.made("measure_traces").digest == masked.made("measure_traces").digest
    for figure in ("fig5", "fig9"):
        assert len({s.made("draw", figure).digest for s in (plain, masked, other)}) == 3
    drawn = masked.made("draw", "fig9").digest
    mask.write_text("axe\n")
    again = steering(vocabulary={"words": "demo", "mask": str(mask)})
    assert again.made("draw", "fig9").digest != drawn
    for figure in ("fig6", "fig7", "steerability_dispersion", "steerability_baselines"):
        assert plain.made("draw", figure).digest == masked.made("draw", figure).digest


def test_the_content_of_a_word_list_counts_and_its_name_is_in_the_path(steering, tmp_path):
    file = tmp_path / "list.txt"
    found = []
    for text in ("a\nb\n", "a\nc\n", "a\nb\n"):
        file.write_text(text)
        found.append(steering(vocabulary={"words": str(file)}).vocabulary.path)
    assert found[0] == found[2] != found[1]
    assert "/vocabulary/list-" in found[0]
    # a missing list is planned all the same; its hash, if given, stands for its content
    words = {"words": str(tmp_path / "20k.txt"), "sha256": GOOGLE_20K_SHA256}
    absent = steering(vocabulary=words).vocabulary
    assert absent.spec["sha256"] == GOOGLE_20K_SHA256
    (tmp_path / "20k.txt").write_text("a\nb\n")
    assert steering(vocabulary=words).vocabulary.path == absent.path


def test_each_size_goes_to_its_own_kinds(steering):
    plan = steering(units=100, baseline_units=50, grid_units=7)
    n = {kind: plan.values(kind, 0)["n_units"] for kind in ("latent", "neuron", "random", "pca")}
    assert n == {"latent": 100, "neuron": 100, "random": 50, "pca": 100}
    grids = [plan.values("latent", layer)["grid_units"] for layer in range(6)]
    assert grids == [7] * 5 + [None]
    assert [plan.values("neuron", layer)["grid_units"] for layer in (0, 5)] == [0, None]
    base, other = steering(), steering(baseline_units=50)
    assert base.paths("latent", "neuron") == other.paths("latent", "neuron")
    assert base.paths("random")[1] != other.paths("random")[1]


def test_traces_follow_the_last_layer_unless_latents_are_named(steering):
    plan, named = steering(), steering(traced={"layer": 3, "units": [4, 9]})
    steps = [s.step("measure_traces") for s in (plan, named)]
    assert [step.reads["files"]["sae"].layer for step in steps] == [5, 3]
    assert [step.values["named"] for step in steps] == [None, [4, 9]]
    # traces read the measured latents only to choose from them
    measured = plan.made("measure_steering", "latent", "05")
    assert [measured in artefacts_of(step.reads) for step in steps] == [True, False]
    assert named.made("measure_traces").digest != plan.made("measure_traces").digest
    assert named.paths("latent") == plan.paths("latent")


def test_tables_with_the_baselines_are_extended_and_hold_every_kind(steering):
    plan = steering()
    latents, everything = (
        plan.step("gather", f"{name}_units.csv.gz").reads["folders"]
        for name in ("steerability", "steerability_baselines")
    )
    assert (len(latents), len(everything)) == (3 * 6, 6 * 6) and everything[:18] == latents
    baselines = "results/steerability_baselines_histogram.csv"
    assert baselines in plan.plan.targets["extended"]
    assert baselines not in plan.plan.targets["all"]
    without = steering(baselines=[])
    assert "gather_steerability_baselines_units.csv.gz" not in without.by_name
