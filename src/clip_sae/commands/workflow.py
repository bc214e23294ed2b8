"""The plan of a config, and Snakemake in a process of its own: the package never imports it."""

import subprocess
import sys
from pathlib import Path

SCHEMA = Path("workflow/schemas/config.schema.yaml")


def plan_of(config: Path):
    """Return the whole plan of a config file, for the workflow in this folder.

    Raises ValueError where the folder holds no workflow, or the config is no file.
    """
    # jsonschema and the analyses' plans take a while to import: only where they are used
    from clip_sae.analyses.planned import planned
    from clip_sae.config import load_config

    if not config.is_file():
        raise ValueError(f"--config {config} is not a file; config.yaml is the default.")
    if not SCHEMA.is_file():
        raise ValueError(
            f"{SCHEMA} is not below {Path.cwd()}: run `python -m clip_sae` in the workflow's "
            "folder, next to its Snakefile."
        )
    # absolute, as Snakemake's own paths are: they stand in jobs, not in digests
    folder = SCHEMA.parents[1].resolve()
    src = folder.parent / "src"  # as the Snakefile: code digests are of the workflow's own code
    return planned(load_config(config, SCHEMA), workflow=folder, src=src)


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
