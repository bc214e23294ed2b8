"""Snakemake in a process of its own, with one config: the package itself never imports it."""

import subprocess
import sys
from pathlib import Path


def run_snakemake(config: Path, *arguments: str, quiet: bool = False) -> None:
    """Run Snakemake with `config` in place of the workflow's own.

    Args:
        quiet: say nothing unless it fails.

    Raises RuntimeError where it fails.
    """
    command = [sys.executable, "-m", "snakemake", *arguments, "--cores", "all"]
    command += ["--replace-workflow-config", "--configfile", str(config)]
    done = subprocess.run(command, check=False, capture_output=quiet, text=True)
    if done.returncode != 0:
        if quiet:
            print(done.stdout + done.stderr, file=sys.stderr)
        raise RuntimeError(
            f"snakemake failed with exit code {done.returncode}: see its messages above"
        )
