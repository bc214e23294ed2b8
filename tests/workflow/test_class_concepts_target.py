"""Concepts and classes, and what adaptation changes, as targets: whole, and again after an edit."""

import pandas as pd
import pytest
from small_project import CLASSES, Project

CURVES = ("results/class_concepts.md", "results/class_concepts.png")
CHANGES = ("results/adaptation_changes.md", "results/adaptation_changes.png")


@pytest.fixture
def asked(project: Project) -> Project:
    """The built project with both questions in its config."""
    config = project.config
    config["saes"]["topk_resid"]["layers"] = [0, 1]  # of the last layer, 1, CLS alone is read
    config["analyses"]["class_concepts"] = {
        "recipe": "topk_resid",
        "layer": 0,
        "dataset": "general",
        "split": "test",
        "sizes": [1, 4, "all"],
        "random_seeds": 2,
    }
    config["analyses"]["adaptation"] = {
        "datasets": {"general": {}},
        "shots": 2,
        "seeds": [0, 1],
        "methods": {
            "text": {"kind": "coop", "n_context": 2, "lr": 0.1, "epochs": 2, "batch_images": 4},
            "deep": {"kind": "vpt", "n_visual": 2, "lr": 0.1, "epochs": 2, "batch_images": 4},
        },
        "changes": {"recipe": "topk_resid", "layer": 0, "strongest": 3, "random_seeds": 2},
    }
    project.write_config(config)
    return project


@pytest.mark.slow
def test_both_questions_are_answered_and_asked_again_after_an_edit(asked: Project):
    asked.run("--cores", "2", *CURVES, *CHANGES)
    assert asked.planned_rules(*CURVES, *CHANGES) == set()
    curves = pd.read_csv(asked.path / "results/class_concepts.csv")
    assert set(curves["class"]) == {*CLASSES, "mean over classes"}
    assert set(curves["k"]) == {0, 1, 4, 32}
    shares = pd.read_csv(asked.path / "results/adaptation_changes.csv")
    assert set(shares["method"]) == {"text", "deep"} and (shares["n_seeds"] == 2).all()
    # One class is novel: alone, it is always answered.
    assert (shares.loc[shares["classes"] == "novel", "accuracy"] == 1).all()
    text = shares[(shares["method"] == "text") & (shares["classes"] == "base")].set_index("cell")
    assert text.loc["old_concepts_new_map", "accuracy"] == text.loc["adapted", "accuracy"]
    latents = pd.read_csv(asked.path / "results/adaptation_changes_latents.csv.gz")
    assert set(latents.loc[latents["method"] == "text", "status"]) == {"persists"}

    asked.edit_config("analyses.class_concepts.sizes", [1, "all"])
    assert asked.planned_rules(*CURVES, *CHANGES) == {
        "measure_class_concepts", "draw", "render_markdown"}  # fmt: skip
    asked.edit_config("analyses.adaptation.changes.strongest", 2)
    planned = asked.planned_rules(*CHANGES)
    assert {"measure_changes", "summarise_changes"} <= planned
    assert not [name for name in planned if name.startswith("train_")]
