"""Stores that are deleted after use: nothing is lost or made twice, and stores can come back."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from small_project import Project, new_project

TRAIN_STORES = {
    f"general_train_{store}" for store in ("mlp_out_L00", "mlp_out_L01", "resid_post_L01")
}
TEST_STORES = {
    f"general_test_{hook}_L{layer}" for hook in ("mlp_out", "resid_post") for layer in ("00", "01")
}
DROP = {f"drop_{store}" for store in TRAIN_STORES | TEST_STORES}
MAPS = {"measure_l0", "draw/fig4", "draw/fig8", "draw/token_norms", "draw_images/l0_image"}


def clip_sae(project: Project, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "clip_sae", *arguments],
        cwd=project.path,
        env=os.environ | {"PYTHONPATH": str(project.path / "src")},
        capture_output=True,
        text=True,
    )


def stores(project: Project) -> set[str]:
    """Return leftovers of stores, under any name."""
    folder = project.path / "results/activations"
    return {str(path.relative_to(folder)) for path in folder.glob("*/*/*")}


@pytest.fixture(scope="module")
def dropped(built: Project, tmp_path_factory) -> Project:
    """The built project after `temporary` was turned on and everything was run again."""
    path = tmp_path_factory.mktemp("dropped") / "project"
    shutil.copytree(built.path, path, symlinks=True)
    project = Project(path)
    project.edit_config("activations.temporary", True)
    assert project.planned() == DROP  # no analysis, no training
    project.run("--cores", "2")
    return project


@pytest.fixture
def temporary(dropped: Project, tmp_path: Path) -> Project:
    path = tmp_path / "project"
    shutil.copytree(dropped.path, path, symlinks=True)
    return Project(path)


def test_no_store_is_left_and_a_second_run_has_nothing_to_do(dropped: Project):
    assert stores(dropped) == set()
    assert dropped.planned() == set()


def test_only_the_store_that_something_stale_reads_comes_back_and_goes_again(temporary: Project):
    temporary.edit_config("saes.topk_resid.k", 3)
    planned = temporary.planned()
    assert {name for name in planned if name.startswith(("extract_", "drop_"))} == {
        # the training split of one recipe, and the evaluation data of its SAE
        *("extract_general_train_block0", "drop_general_train_resid_post_L01"),
        *("extract_general_test_block0", "drop_general_test_resid_post_L01"),
        # firing rates of all recipes are one table
        *("drop_general_test_mlp_out_L00", "drop_general_test_mlp_out_L01"),
    }
    assert {name for name in planned if name.startswith("train_")} == {
        "train_sae/topk_resid-01-base"
    }
    temporary.edit_config("saes.topk_resid.k", 4)

    temporary.edit_config("analyses.l0.single_image", 1)
    read = {"drop_general_test_mlp_out_L00", "drop_general_test_mlp_out_L01"}
    assert temporary.planned() == {"extract_general_test_block0"} | MAPS | read
    before = (temporary.path / "results/l0_image.csv").read_text()
    temporary.run("--cores", "2")
    assert (temporary.path / "results/l0_image.csv").read_text() != before
    assert stores(temporary) == set() and temporary.planned() == set()


@pytest.mark.slow
def test_touched_files_and_a_forced_reader(temporary: Project):
    for path in sorted((temporary.path / "results").rglob("*")):
        os.utime(path)
    assert temporary.planned() == set()
    forced = temporary.planned("--forcerun", "measure_reconstruction")
    assert not any(name.startswith("train_") for name in forced)
    assert "measure_reconstruction/topk_resid-01" in forced
    assert any(name.startswith("extract_general_test") for name in forced)


def test_a_deleted_sae_behind_whole_tables_stays_deleted(temporary: Project):
    shutil.rmtree(temporary.path / "results/saes/topk_resid")
    assert temporary.planned() == set()


@pytest.mark.slow
def test_a_killed_deletion_is_finished_by_the_next_run(built: Project, tmp_path: Path):
    path = tmp_path / "project"
    shutil.copytree(built.path, path, symlinks=True)
    project = Project(path)
    project.edit_config("activations.temporary", True)
    line, kill = (
        "    shutil.rmtree(folder)\n",
        "    __import__('os').kill(__import__('os').getpid(), 9)\n",
    )
    project.replace_in("src/clip_sae/planning/dropping.py", line, kill)
    killed = project.snakemake("--cores", "1")
    assert killed.returncode != 0
    [left] = {name for name in stores(project) if name.endswith(".dropping")}
    assert not (project.path / "results/activations" / left / "COMPLETE.json").exists()
    project.replace_in("src/clip_sae/planning/dropping.py", kill, line)
    assert project.planned() == DROP
    project.run("--cores", "1")
    assert stores(project) == set() and project.planned() == set()


def test_gc_and_verify_know_of_deleted_stores(temporary: Project):
    done = clip_sae(temporary, "gc")
    assert "Nothing to remove" in done.stdout, done.stdout + done.stderr
    temporary.edit_config("activations.permute_seed", 1)  # other stores: no records belong to them
    done = clip_sae(temporary, "gc")
    assert done.stdout.count("results/dropped/") == len(DROP), done.stdout
    done = clip_sae(temporary, "verify", "results/activations")
    assert done.returncode == 0 and done.stdout.count("deleted after use") == len(DROP), done.stderr


def test_a_store_waits_for_all_of_its_readers_that_are_there(built: Project, tmp_path: Path):
    """Also for up-to-date outputs: Snakemake reruns a job whose process outlived it."""
    path = tmp_path / "project"
    shutil.copytree(built.path, path, symlinks=True)
    project = Project(path)
    project.edit_config("activations.temporary", True)
    text = project.run("--dry-run")
    [drop] = re.findall(r"rule drop_general_test_resid_post_L01:\n((?: +.*\n)+)", text)
    [inputs] = re.findall(r"input: (.*)", drop)
    assert "results/measurements/reconstruction/topk_resid" in inputs and "firing" in inputs


def test_layers_take_turns(built: Project, tmp_path: Path):
    project = Project(tmp_path / "project")
    ignore = shutil.ignore_patterns("results", ".snakemake")
    shutil.copytree(built.path, project.path, ignore=ignore, symlinks=True)
    project.edit_config("activations.layers_at_once", 1)
    planned = project.planned()
    assert {name for name in planned if name.startswith("extract_")} == {
        "extract_general_train_block0_turn0",
        "extract_general_train_block0_turn1",
        "extract_general_test_block0_turn0",  # firing rates are measured on all layers at once
    }
    assert {name for name in planned if name.startswith("drop_")} == DROP
    # one table: its own stores and SAEs, and no reader of anything else
    table4 = project.planned("results/table4.csv")
    assert not {"measure_firing", "measure_l0", "train_vanilla_mlp_L00"} & table4


@pytest.mark.slow
@pytest.mark.parametrize("key", ["temporary", "layers_at_once"])
def test_tables_of_a_run_that_keeps_no_store_are_those_of_one_that_does(built, tmp_path, key):
    project = new_project(tmp_path / "project")
    project.edit_config(f"activations.{key}", True if key == "temporary" else 1)
    text = project.run("--cores", "2")
    tables = sorted((built.path / "results").glob("*.csv"))
    assert len(tables) >= 8
    for table in tables:
        assert (project.path / "results" / table.name).read_bytes() == table.read_bytes(), table
    assert stores(project) == set() and project.planned() == set()
    if key == "layers_at_once":
        second = text.index("rule extract_general_train_block0_turn1:")
        assert "(Rule: drop_general_train_mlp_out_L00)" in text[:second]
        assert "rule train_vanilla_mlp_L01:" in text[second:]
