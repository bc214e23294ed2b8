"""`python -m clip_sae plan` for a built project, the demo, and the full-size configs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_project import ROOT, Project


def plan(folder: Path, *arguments: str, codes: tuple = (0,)) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "clip_sae", "plan", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode in codes, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def workdir(tmp_path):
    """Return a folder that sees the repository's workflow and has no results."""
    for name in ("Snakefile", "workflow", "src", "profiles", "envs", "config.yaml"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def test_a_built_project_has_the_bytes_that_were_planned_and_nothing_to_make(project: Project):
    found = json.loads(plan(project.path, "--json"))
    assert found["unknown"] == [] and all(not stage["to_make"] for stage in found["stages"])
    assert {(s["dataset"], s["split"]): s["images"] for s in found["splits"]} == {
        ("general", "train"): 24,
        ("general", "test"): 9,
    }
    shards = [
        path.stat().st_size
        for path in (project.path / "results/activations").glob("**/c/**/*")
        if path.is_file() and "source_index" not in path.parts
    ]
    assert sum(split["bytes"] for split in found["splits"]) == sum(shards)
    assert found["disk"]["there"] == sum(shards) and found["disk"]["peaks"]["kept"] == 0
    weights = (project.path / "results/saes").rglob("*.safetensors")
    header = 1000  # of a safetensors file
    for size in (path.stat().st_size for path in weights):
        assert any(0 < size - row["bytes"] / row["saes"] < header for row in found["saes"])


def test_what_is_to_be_made_is_what_snakemake_would_run(project: Project):
    project.edit_config("saes.topk_resid.k", 3)
    found = json.loads(plan(project.path, "--json"))
    planned = project.planned()
    assert sum(stage["to_make"] for stage in found["stages"]) == len(planned)
    [training] = [stage for stage in found["stages"] if stage["name"] == "train"]
    assert training["to_make"] == 1 and "of these results" in training["time"]["source"]
    assert training["time"]["least"] < training["time"]["hours"] < training["time"]["most"]


def test_the_demo_fits_and_its_drawn_images_are_known(workdir):
    text = plan(workdir)
    assert "Unknown number" not in text and "The disk is too small" not in text
    assert "the demo on two CPU cores" in text or "Not measured" in text
    for line in ("general/train", "9,600", "waterbirds_augmented/train", "train", "in all"):
        assert line in text
    assert not (workdir / "results/activations").exists()


def test_the_papers_need_more_disk_and_the_report_says_what_helps(workdir):
    text = plan(workdir, "--config", "workflow/experiments/paper.yaml", "--json", codes=(0, 1))
    found = json.loads(text)
    sizes = {(s["dataset"], s["split"]): s["store_bytes"] for s in found["splits"]}
    assert sizes["imagenet", "train"] == pytest.approx(98.4e9, rel=1e-3)
    assert sum(split["stores"] for split in found["splits"] if split["dataset"] == "imagenet") == 36
    assert found["disk"]["peaks"]["layers_at_once: 1"] < found["disk"]["peaks"]["kept"] / 5
    peak, free = found["disk"]["peaks"]["kept"], found["disk"]["free"]
    assert peak > 2e12
    if free < peak:  # as on most machines; exit code 1
        text = plan(workdir, "--config", "workflow/experiments/paper.yaml", codes=(1,))
        assert "The disk is too small: results-paper has" in text and "layers_at_once: 1" in text
    [imagenet] = [row for row in found["saes"] if row["recipe"] == "topk_resid"]
    assert imagenet["saes"] == 36 and imagenet["tokens_each"] == 1_281_167 * 50

    few = [f"{d}/{s}=8" for d in ("imagenet", "caltech101") for s in ("train", "val", "test")]
    arguments = ("--config", "workflow/experiments/patchsae.yaml", "--target", "adaptation")
    text = plan(workdir, *arguments, "--images", *few, "--gpus", "4", codes=(0, 3))
    assert "train_adaptation" in text and "The disk is too small" not in text
    assert "Not measured on this device, with their jobs: extract" in text
    assert "Missing data folders: data/" in text


def test_a_mistake_gets_a_sentence(workdir):
    done = subprocess.run(
        [sys.executable, "-m", "clip_sae", "plan", "--images", "imagnet/train=3"],
        cwd=workdir,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "'imagnet', which is not a data set of config.yaml; there are: general" in done.stderr
