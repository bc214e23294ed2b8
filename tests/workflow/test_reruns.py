"""Edits → exactly the jobs of a dry run; and changes that must never leave a stale file.

The measured traps behind each case: a failed re-run, a lost .snakemake, touched or copied files,
edits to imported modules.
"""

import os
import re
import shutil
import subprocess
import sys
import time

import pytest
from small_project import Project

INDEX = {"index_images/general", "summarise_datasets"}
EXTRACT = {"extract_general_train_block0", "extract_general_test_block0"}
TRAIN_MLP = {"train_vanilla_mlp_L00", "train_vanilla_mlp_L01"}
TRAIN_TOPK = {"train_sae/topk_resid-01-base"}
TRAIN = TRAIN_MLP | TRAIN_TOPK
MEASURE_MLP = {f"measure_reconstruction/vanilla_mlp-{layer}" for layer in ("00", "01")}
MEASURE_TOPK = {"measure_reconstruction/topk_resid-01"}
MEASURE = MEASURE_MLP | MEASURE_TOPK
TABLE3 = {"gather/table3.csv", "render/table3"}
TABLE4 = {"gather/table4.csv", "render/table4"}
MAPS = {"draw/fig4", "draw/fig8", "draw/token_norms", "draw_images/l0_image"}
L0 = {"measure_l0"} | MAPS
FIRING = {"measure_firing", "draw/firing"}
CURVES = {"gather/training_curves.csv", "draw/training_curves"}
AFTER_TRAINING = MEASURE | TABLE3 | TABLE4 | L0 | FIRING | CURVES
AFTER_STORES = TRAIN | AFTER_TRAINING


def test_second_run_has_nothing_to_do(project: Project):
    assert project.planned() == set()


# edit of config.yaml → exactly the planned rules
CONFIG_EDITS = {
    "analyses.bootstrap_resamples=200": (200, MEASURE | TABLE3 | TABLE4 | L0),
    "analyses.l0.map_layer=0": (0, {"draw/fig4"}),
    "analyses.l0.single_image=1": (1, L0),
    "analyses.reconstruction.table4=": (["topk_resid", "vanilla_mlp"], TABLE4),
    "zeroshot.templates=": (["a picture of the {}."], MEASURE | TABLE3 | TABLE4),
    "saes.topk_resid.k=": (3, TRAIN_TOPK | MEASURE_TOPK | TABLE4 | FIRING | CURVES),
    "saes.topk_resid.architecture=": (["topk", "batchtopk", "matryoshka"],
                                      {"train_topk_resid_L01"} | MEASURE_TOPK
                                      | TABLE4 | FIRING | CURVES),
    # the evaluation split of layer 0 exists already, for vanilla_mlp
    "saes.topk_resid.layers=": ([0, 1], {"extract_general_train_block0",
                                         "train_sae/topk_resid-00-base",
                                         "measure_reconstruction/topk_resid-00"}
                                | TABLE4 | FIRING | CURVES),
    "saes.vanilla_mlp.l1_coefficient=": ([1.0e-4, 1.0e-5, 1.0e-6],
                                         TRAIN_MLP | MEASURE_MLP | TABLE3 | FIRING | CURVES),
    "activations.permute_seed=": (1, EXTRACT | AFTER_STORES),
    "activations.layers_per_job=": (1, set()),
    "datasets.general.on_bad_image=": ("skip", INDEX | EXTRACT | AFTER_STORES),
}  # fmt: skip


@pytest.mark.parametrize("edit", CONFIG_EDITS)
def test_config_edit_plans_exactly_what_depends_on_it(project: Project, edit: str):
    value, expected = CONFIG_EDITS[edit]
    project.edit_config(edit.split("=")[0], value)
    assert project.planned() == expected


# (file, text, replacement) → the rules planned for it
L0_CODE = "src/clip_sae/analyses/l0/measure.py"
CODE_EDITS = {
    "comment": (L0_CODE, "import math\n",
                "import math  # why\n", set()),
    "docstring": (L0_CODE, '"""L0, the number', '"""L0: the number', set()),
    "analysis": (L0_CODE, "import math\n", "import math\n\nX = 1\n", L0),
    "drawing": ("src/clip_sae/analyses/l0/draw.py", "import math\n", "import math\n\nX = 1\n",
                MAPS),
    "style": ("workflow/resources/style.mplstyle", "\n", "\n# a remark\n",
              MAPS | {"draw/firing", "draw/training_curves"}),
    "step": ("src/clip_sae/analyses/firing/measure.py", "import pandas as pd\n",
             "import pandas as pd\n\nX = 1\n", FIRING | CURVES),
    "plan": ("src/clip_sae/analyses/l0/plan.py", "DRAW = ", "X = 1\nDRAW = ", set()),
    "job": ("src/clip_sae/running/job.py", "import json\n", "import json\n\nX = 1\n", set()),
    "extraction code": ("src/clip_sae/extraction/extract.py", "import os\n",
                        "import os\n\nX = 1\n", set()),
    "training version": ("src/clip_sae/planning/versions.py", "TRAIN_VERSION = 2",
                         "TRAIN_VERSION = 3", AFTER_STORES),
    "extraction version": ("src/clip_sae/planning/versions.py", "EXTRACT_VERSION = 1",
                           "EXTRACT_VERSION = 2", EXTRACT | AFTER_STORES),
}  # fmt: skip


@pytest.mark.parametrize("edit", CODE_EDITS)
def test_code_edit_plans_exactly_what_it_can_change(project: Project, edit: str):
    file, old, new, expected = CODE_EDITS[edit]
    project.replace_in(file, old, new)
    planned = project.planned()
    # cheap stages import the module of the versions too, so they are planned as well
    assert planned == expected


def test_touched_files_rerun_nothing(project: Project):
    for index, path in enumerate(sorted(project.path.rglob("*"))):
        if ".snakemake" not in path.parts:
            stamp = time.time() + index % 7 - 3  # a shuffled order of times
            os.utime(path, (stamp, stamp))
    assert project.planned() == set()


def test_batch_size_threads_and_device_rerun_nothing(project: Project):
    settings = ("--set-resources", "extract_general_train_block0:batch_size=3")
    assert project.planned(*settings, "--resources", "gpu=0", "--cores", "1") == set()


def test_resources_on_the_command_line_reach_one_recipe_or_layer(project: Project):
    """As in docs/clusters.md: an expression sets a rule whose jobs differ by a wildcard."""
    project.edit_config("saes.topk_resid.layers", [0, 1])
    project.edit_config("saes.topk_resid.k", 3)
    setting = 'train_sae:mem_mb=701 if wildcards.layer == "01" else 702'
    text = project.run("--dry-run", "--set-resources", setting)
    found = re.findall(r"wildcards: recipe=topk_resid, layer=(\d\d).*\n.*mem_mb=(\d+)", text)
    assert set(found) == {("00", "702"), ("01", "701")}


def test_copy_without_times_and_without_snakemake_folder_reruns_nothing(built, tmp_path):
    path = tmp_path / "clone"
    shutil.copytree(built.path, path, copy_function=shutil.copyfile)
    shutil.rmtree(path / ".snakemake")
    assert Project(path).planned() == set()


def test_lost_snakemake_folder_and_a_config_edit_leave_no_stale_target(project: Project):
    shutil.rmtree(project.path / ".snakemake")
    project.edit_config("analyses.bootstrap_resamples", 200)
    assert project.planned() == MEASURE | TABLE3 | TABLE4 | L0


def test_results_copied_over_without_their_records_are_made_again(project: Project):
    (project.path / "results/table3.csv").write_text("layer,ce\n0,1.0\n")
    (project.path / "results/table3.csv.spec.json").unlink()
    assert "gather/table3.csv" in project.planned("results/table3.csv")


def test_failed_job_leaves_no_stale_table(project: Project):
    table = project.path / "results/table4.csv"
    before = table.read_text()
    project.edit_config("saes.topk_resid.k", 3)
    trained = project.path / "results/saes/topk_resid/L01"
    shutil.move(trained, project.path / "aside")
    trained.write_text("a file where the folder of the SAEs must be")
    failed = project.snakemake("--cores", "2", "results/table4.csv")
    assert failed.returncode != 0
    # Fixed: the old table, if it still exists, must not pass for the new one.
    trained.unlink()
    shutil.move(project.path / "aside", trained)
    assert TRAIN_TOPK | {"gather/table4.csv"} <= project.planned("results/table4.csv")
    project.run("--cores", "2", "results/table4.csv")
    assert table.read_text() != before
    assert project.planned("results/table4.csv") == set()


def test_flipping_a_value_there_and_back_trains_once(project: Project):
    project.edit_config("saes.topk_resid.k", 3)
    project.run("--cores", "2", "results/table4.csv")
    project.edit_config("saes.topk_resid.k", 4)
    assert project.planned("results/table4.csv") == {"gather/table4.csv"}


def test_new_value_of_a_sweep_trains_only_the_new_sae(project: Project):
    folder = project.path / "results/saes/vanilla_mlp/L00"
    weights = {path: path.stat().st_mtime_ns for path in folder.glob("*/sae_weights.safetensors")}
    assert len(weights) == 2
    project.edit_config("saes.vanilla_mlp.l1_coefficient", [1.0e-4, 1.0e-5, 1.0e-6])
    project.run("--cores", "2", "train_vanilla_mlp_L00")
    assert len(list(folder.glob("*/sae_weights.safetensors"))) == 3
    assert {path: path.stat().st_mtime_ns for path in weights} == weights


def test_deleted_files_come_back_and_nothing_else_is_made(project: Project):
    (project.path / "results/fig8.svg").unlink()
    assert project.planned() == {"draw/fig8"}
    project.run("--cores", "1")
    # A store may be deleted to free the disk while the figures stay up to date.
    shutil.rmtree(project.path / "results/activations")
    assert project.planned() == set()
    project.edit_config("analyses.l0.single_image", 1)
    assert project.planned("results/fig4.png") == {
        "measure_l0",
        "draw/fig4",
        "extract_general_test_block0",
    }


def test_other_weights_rebuild_and_touched_weights_do_not(project: Project):
    weights = project.path / "clip/open_clip_model.safetensors"
    os.utime(weights)
    assert project.planned() == set()
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert project.planned() == {"fingerprint_model/model-tiny"} | EXTRACT | AFTER_STORES


def test_reason_is_printed(project: Project):
    project.edit_config("analyses.bootstrap_resamples", 200)
    text = project.run("--dry-run")
    assert "out of date: results/l0_tokens.csv (changed: resamples)" in text


def test_gc_removes_what_no_config_needs_and_nothing_else(project: Project):
    def gc(*arguments: str) -> str:
        environment = os.environ | {"PYTHONPATH": str(project.path / "src")}
        command = [sys.executable, "-m", "clip_sae", "gc", *arguments]
        done = subprocess.run(
            command, cwd=project.path, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout

    old = next((project.path / "results/saes/topk_resid/L01").iterdir())
    assert "Nothing to remove" in gc()
    project.edit_config("saes.topk_resid.k", 3)
    listed = gc()
    assert str(old.relative_to(project.path)) in listed and old.exists()
    gc("--delete")
    assert not old.exists()
    project.run("--cores", "2")
    assert project.planned() == set()
