"""The targets on Slurm, and the arguments with which snakemake runs on the test cluster."""

from pathlib import Path

import cluster
import yaml

TARGETS = ("results/table3.csv", "results/table4.md", "results/firing.csv")
# Settings of this one small cluster, which a user would write into the profile.
HERE = [
    *("--slurm-init-seconds-before-status-checks", "2", "--seconds-between-status-checks", "2"),
    *("--latency-wait", "5", "--default-resources", "mem_mb=3000", "runtime=30"),
]
WITHOUT_ACCOUNTING = ["--slurm-status-command", "squeue", "--slurm-no-account"]


def write_partitions(folder: Path) -> None:
    """Write parts.yaml: the test cluster's partitions, in the plugin's format."""
    limits = {"max_runtime": 100000, "max_mem_mb": 20000, "max_threads": 2}
    partitions = {"cpu": limits | {"max_gpu": 0}, "gpu": limits | {"max_gpu": cluster.GPUS}}
    (folder / "parts.yaml").write_text(yaml.safe_dump({"partitions": partitions}))
