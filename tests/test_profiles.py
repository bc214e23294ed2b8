"""Profiles decide how the workflow runs, not its numbers; all keep the default settings."""

from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PROFILES = sorted(path.parent.name for path in ROOT.glob("profiles/*/profile.yaml"))
# Snakemake loads one workflow profile, so every profile must hold these settings.
REPEATED = ("rerun-incomplete", "rerun-triggers", "show-failed-logs", "keep-going", "nolock")
# Everything a profile may set: where and how many jobs run. No `config`, `configfile`, `threads`,
# batch sizes: those decide the last digit of a sum.
ALLOWED = {
    *REPEATED,
    *("cores", "executor", "jobs", "local-cores", "resources", "retries", "default-resources"),
    *("set-scatter", "printshellcmds", "latency-wait", "seconds-between-status-checks"),
    *("slurm-partition-config", "slurm-init-seconds-before-status-checks", "slurm-logdir"),
    *("kubernetes-namespace", "container-image", "default-storage-provider"),
    "default-storage-prefix",
}
RESOURCES = {"gpu", "mem_mb", "runtime"}


def load(name: str) -> dict:
    return yaml.safe_load((ROOT / "profiles" / name / "profile.yaml").read_text())


def test_all_four_are_there():
    assert PROFILES == ["default", "gpu", "kubernetes", "slurm"]


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_repeats_how_files_are_called_out_of_date(name):
    found, default = load(name), load("default")
    assert {key: found[key] for key in REPEATED} == {key: default[key] for key in REPEATED}
    assert found["rerun-triggers"] == ["mtime"] and found["rerun-incomplete"] is True


@pytest.mark.parametrize("name", PROFILES)
def test_nothing_scientific_is_in_a_profile(name):
    found = load(name)
    assert set(found) <= ALLOWED
    for key in ("resources", "default-resources"):
        assert set(found.get(key, {})) <= RESOURCES
    assert set(found.get("set-scatter", {})) <= {"extraction", "units"}


def test_memory_grows_with_each_attempt_and_there_is_more_than_one():
    for name in ("slurm", "kubernetes"):
        found = load(name)
        assert "attempt" in found["default-resources"]["mem_mb"] and found["retries"] >= 1


def test_the_partitions_file_is_the_one_that_the_slurm_profile_names():
    named = ROOT / "profiles/slurm" / load("slurm")["slurm-partition-config"]
    limits = yaml.safe_load(named.read_text())["partitions"]
    assert any(limit["max_gpu"] == 0 for limit in limits.values())
    assert any(limit["max_gpu"] > 0 for limit in limits.values())
