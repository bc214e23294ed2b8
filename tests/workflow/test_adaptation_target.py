"""Adaptation as a target: trained, answered and stored once; an edit trains what it affects."""

import re

import pandas as pd
import pytest
from small_project import Project, new_project, write_clip

from clip_sae.store import ActivationStore

TARGET = "adaptation"
TRAINING = {"epochs": 2, "batch_images": 2, "lr": 0.01}
ADAPTATION = {
    "datasets": {"general": {}},
    "shots": 2,
    "seeds": [0],
    "methods": {
        "vpt": {"kind": "vpt", "n_visual": 2, **TRAINING},
        "mine": {"kind": "checkpoint", "model": "local-dir:tuned"},
    },
    "stores": {"layers": [0], "methods": ["vpt"]},
}
ENDS = {"summarise_adaptation", "render_markdown", "draw"}


@pytest.fixture(scope="module")
def adapted(tmp_path_factory) -> Project:
    project = new_project(tmp_path_factory.mktemp("adapted") / "project")
    write_clip(project.path / "tuned", seed=1)
    config = project.config
    config["analyses"]["adaptation"] = ADAPTATION
    project.write_config(config)
    return project


@pytest.mark.slow
def test_adaptation_is_built_once_and_edits_train_what_they_touch(adapted: Project):
    adapted.run("--cores", "2", TARGET)
    assert adapted.planned_rules(TARGET) == set()
    results = adapted.path / "results"
    table = pd.read_csv(results / "adaptation.csv")
    assert list(table["method"].unique()) == ["none", "vpt", "mine"]
    runs = pd.read_csv(results / "adaptation_runs.csv").set_index("method")
    assert (runs["n_images"] == 9).all() and runs[["base", "novel", "all"]].notna().all(axis=None)
    for suffix in (".md", ".png", ".svg"):
        assert (results / f"adaptation{suffix}").stat().st_size > 500
    [folder] = (results / "adaptation/general").glob("vpt-seed0-*")
    shots = pd.read_csv(folder / "shots.csv")
    assert list(shots["label_idx"]) == [0, 0, 1, 1]  # two of each of the base classes
    assert not (folder / "state.safetensors").exists()
    [store] = (results / "activations/tiny-vpt-seed0/general-test").iterdir()
    assert ActivationStore(store).read(0, 9, tokens="prompt").shape == (9, 2, 16)

    adapted.edit_config("analyses.adaptation.seeds", [0, 1])
    new = {"train_adaptation", "extract_adapted_general_vpt_1"}
    assert adapted.planned_rules(TARGET) == new | {"evaluate_adaptation"} | ENDS
    text = adapted.run("--dry-run", TARGET)
    assert "adaptation/general/vpt-seed1-" in text and "fingerprints/adapted-mine-" not in text
    assert counted(text, "train_adaptation") == counted(text, "evaluate_adaptation") == 1
    adapted.edit_config("analyses.adaptation.seeds", [0])
    assert adapted.planned_rules(TARGET) == set()

    write_clip(adapted.path / "tuned", seed=2)
    assert adapted.planned_rules(TARGET) == {"fingerprint_model", "evaluate_adaptation"} | ENDS
    text = adapted.run("--dry-run", TARGET)
    assert "measurements/adaptation/general-mine-" in text
    assert counted(text, "fingerprint_model") == counted(text, "evaluate_adaptation") == 1


def counted(text: str, rule: str) -> int:
    """Return the jobs of a rule in a dry run."""
    return int(re.search(rf"^{rule}\s+(\d+)$", text, flags=re.MULTILINE)[1])
