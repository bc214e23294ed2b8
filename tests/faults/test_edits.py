"""Edits while a run is going: of the config, of the code, of a stage's version."""

import pytest

K = "saes.topk_resid.k"


def train_and_edit(project, edit):
    """Start a training, edit during it, and return the run after its end."""
    project.forget("saes")
    run = project.start()
    run.wait_for_job("train_")
    edit()
    run.wait()
    return run


@pytest.mark.faults
@pytest.mark.fault("config edited during a run")
def test_config_edited_during_a_run(project, scenario):
    scenario.injected("`k: 4` set to 3 in config.yaml while the SAE trains; later back to 4")
    run = train_and_edit(project, lambda: project.edit_config(K, 3))
    assert run.process.returncode == 0, run.output
    scenario.is_whole(project)  # the planned output was made, under its own digest
    again = project.run_once()
    assert again.process.returncode == 0, again.output
    assert project.tables()["table4.csv"] != scenario.undisturbed.tables()["table4.csv"]
    assert "k4" not in (project.path / "results/table4.csv").read_text()
    scenario.row.detected = "at the next start: the table's record has another spec"
    scenario.saw(again, "out of date: results/table4.csv", project)
    project.edit_config(K, 4)
    back = project.run_once()
    assert back.process.returncode == 0 and "rule train_" not in back.output, back.output
    assert project.tables() == scenario.undisturbed.tables()
    scenario.row.lost = "nothing: the SAE with k 4 is kept, and used when k is 4 again"
    scenario.row.finished_by = "`snakemake`"


@pytest.mark.faults
@pytest.mark.fault("code edited during a run")
def test_code_edited_during_a_run(project, scenario):
    scenario.injected("an assignment added to reconstruction/table.py while the SAE trains")
    file, old = "src/clip_sae/analyses/shared/reconstruction.py", "import numpy as np\n"

    def edit():
        project.replace_in(file, old, f"{old}\nX = 1\n")

    run = train_and_edit(project, edit)
    assert run.process.returncode != 0
    scenario.row.detected = "by the next job: its code is not what was planned; it makes nothing"
    scenario.saw(run, "changed since the run was planned", project)
    assert project.tables() == {}
    again = project.run_once()
    assert again.process.returncode == 0 and "rule train_" not in again.output, again.output
    assert project.tables() == scenario.undisturbed.tables()
    scenario.row.lost = "nothing: the SAE was finished and kept"
    scenario.row.finished_by = "`snakemake`"


@pytest.mark.faults
@pytest.mark.fault("a stage's version raised during a run")
def test_version_raised_during_a_run(project, scenario):
    scenario.injected("TRAIN_VERSION raised while the stores are extracted; later put back")
    run, _ = project.start_and_reach(5)
    versions = "src/clip_sae/planning/versions.py"
    project.replace_in(versions, "TRAIN_VERSION = 2", "TRAIN_VERSION = 3")
    assert run.wait() != 0
    scenario.row.detected = "by the training job, before it begins"
    scenario.saw(run, "was edited while it ran", project)
    assert not [*project.path.glob("results/saes/**/COMPLETE.json")]
    assert project.tables() == {}
    project.replace_in(versions, "TRAIN_VERSION = 3", "TRAIN_VERSION = 2")
    again = scenario.finish(project)
    assert "rule extract_" not in again.output
    scenario.row.lost = "nothing: the stores were finished and kept"
