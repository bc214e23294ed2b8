"""Two snakemakes at once: in one project, and in two projects with the same results."""

import shutil

import pytest
from fault_project import FaultProject

SENTENCE = "another snakemake ("


def check_second_is_refused(project, second, scenario):
    run, job = project.start_and_reach(5)
    job.suspend()  # so that it does not end before the second one starts
    dry = second.run_once("--dry-run")
    assert dry.process.returncode == 0 and SENTENCE not in dry.output
    refused = second.run_once()
    assert refused.process.returncode != 0
    assert "Execute" not in refused.output  # no job started
    scenario.row.detected = "by the lock on the results folder; a dry run passes"
    scenario.saw(refused, SENTENCE, project)
    assert f"process {run.process.pid} " in refused.output
    job.resume()
    assert run.wait() == 0, run.output
    scenario.is_whole(project)
    scenario.row.lost = "nothing"
    scenario.row.finished_by = "the first one; the second is refused"


@pytest.mark.faults
@pytest.mark.fault("two runs at once")
def test_a_second_run_is_refused(project, scenario):
    scenario.injected("`snakemake` while another one extracts, in the same folder")
    check_second_is_refused(project, project, scenario)


@pytest.mark.faults
@pytest.mark.fault("two projects, one results folder")
def test_a_run_of_another_project_with_the_same_results_is_refused(project, scenario, tmp_path):
    scenario.injected("`snakemake` in a copy of the project whose config names the same `results`")
    path = tmp_path / "second"
    ignore = shutil.ignore_patterns("results", ".snakemake")
    shutil.copytree(project.path, path, symlinks=True, ignore=ignore)
    second = FaultProject(path)
    second.edit_config("results", str(project.path / "results"))
    second.targets = tuple(str(project.path / target) for target in project.targets)
    check_second_is_refused(project, second, scenario)
    after = second.run_once()
    assert "Nothing to be done" in after.output, after.output
