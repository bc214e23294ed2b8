"""The small project on a real Slurm: the same bytes as locally, with and without accounting."""

import re

import pytest
from slurm_arguments import TARGETS
from small_project import Project

pytestmark = pytest.mark.slurm


@pytest.mark.parametrize("accounting", [False, True], ids=["squeue", "sacct"])
def test_slurm_gives_the_local_tables_and_each_job_its_gpu(fresh, local, slurm, accounting):
    arguments = slurm(accounting)
    fresh.run(*TARGETS, *arguments, "--set-scatter", "extraction=2", "units=2")
    for target in TARGETS:
        assert (fresh.path / target).read_bytes() == (local.path / target).read_bytes()
    said = (fresh.path / "results/logs/measure_firing.log").read_text()
    assert "GPU: 0" in said or "GPU: 1" in said
    assert fresh.planned(*TARGETS) == set()  # the local profile has nothing to do


def test_a_job_above_its_memory_is_killed_and_tried_again_with_more(fresh: Project, slurm):
    target, rule = "results/table4.csv", "train_sae"
    little = ("--set-resources", f"{rule}:mem_mb=250 * attempt * attempt", "--retries", "3")
    text = fresh.run(target, *slurm(True), *little)
    assert "Trying to restart job" in text
    assert set(re.findall(r"Error in rule (\w+):", text)) == {rule}
    assert (fresh.path / target).exists() and fresh.planned(target) == set()
