"""The frontier as a target: all its files, separate from `all`; a new seed trains only new SAEs."""

import pandas as pd
import pytest
from small_project import Project

TARGETS = ("results/frontier.csv", "results/frontier.png", "results/frontier.md")
AFTER_TRAINING = {"measure_frontier", "gather", "draw", "render_markdown"}


@pytest.fixture
def frontier(project: Project) -> Project:
    """The built project with a frontier in its config."""
    config = project.config
    shared = ("dataset", "split", "hook", "layers", "form", "expansion_factor", "batch_tokens")
    config["saes"]["points"] = {key: config["saes"]["topk_resid"][key] for key in shared} | {
        "architecture": ["topk", "jumprelu", "gated"],
        "k": [2, 4],
        "l0_coefficient": 0.1,
        "l1_coefficient": 0.1,
        "seed": [0, 1],
    }
    place = {"dataset": "general", "split": "test"}
    config["analyses"]["frontier"] = {"recipes": ["points"], **place}
    project.write_config(config)
    return project


def test_the_frontier_stands_apart_from_all_and_a_new_seed_trains_what_is_new(frontier: Project):
    assert frontier.planned_rules() == set()
    frontier.run("--cores", "2", *TARGETS)
    table = pd.read_csv(frontier.path / "results/frontier.csv")
    assert len(table) == (2 + 1 + 1) * 2
    assert set(table.knob) == {"k", "l0_coefficient", "l1_coefficient"}
    topk = table[table.architecture == "topk"]
    assert sorted(topk.knob_value) == [2, 2, 4, 4] and (topk.l0 <= topk.knob_value).all()
    assert (table.ce_recovered_low <= table.ce_recovered_high).all()
    assert (table.alive_fraction == table.alive_latents / 32).all()
    text = (frontier.path / "results/frontier.md").read_text()
    assert "| TopK |" in text and "resid_post of layer 1, tiny, 9 held-out images" in text

    frontier.edit_config("saes.points.seed", [0, 1, 2])
    assert frontier.planned_rules(*TARGETS) == {"train_points_L01"} | AFTER_TRAINING
    folder = frontier.path / "results/saes/points/L01"
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*/sae_weights.safetensors")}
    frontier.run("--cores", "1", "train_points_L01")
    after = {path: path.stat().st_mtime_ns for path in folder.glob("*/sae_weights.safetensors")}
    assert len(before) == 8 and len(after) == 12
    assert {path: after[path] for path in before} == before
