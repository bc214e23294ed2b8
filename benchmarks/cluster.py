"""Thousands of jobs: how long a plan takes, and what each job costs on top of its work.

    python benchmarks/cluster.py plan local --write
    python benchmarks/cluster.py slurm --minutes 10 --write   # as root: it starts a Slurm

The paper's config, all of it (12 layers x all recipes x all analyses, long jobs in eight parts),
with every script replaced by one that writes its outputs and nothing else: what remains is
Snakemake, the workflow's own reading, the executor and the scheduler. `slurm` stops after so many
minutes and says how far it came, and the longest time without a job's end: a run that stalls would
show there.
"""

import argparse
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

from clip_sae.planning.specs import write_text

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT / "tests/slurm"))
RESULTS = "## Last result\n"
PAPER = "workflow/experiments/paper.yaml"
SPLIT = ["--set-scatter", "extraction=8", "units=8"]
STUB = '''"""Write every output, with its record, and do nothing else."""
import json
from pathlib import Path

for made in json.loads(snakemake.params.step)["makes"].values():
    sidecar = Path(made["sidecar"])
    sidecar.parent.mkdir(parents=True, exist_ok=True)
    sidecar.write_text(json.dumps({"spec": made["record"], "fingerprints": {}}))
for path in map(Path, snakemake.output):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
'''


def stub_project(folder: Path) -> Path:
    """A copy of the workflow whose only script computes nothing."""
    for name in ("workflow", "src", "profiles", "envs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "config.yaml"):
        shutil.copy(ROOT / name, folder)
    (folder / "workflow/scripts/step.py").write_text(STUB)
    return folder


def snakemake(folder: Path, *arguments: str, seconds: float | None = None) -> tuple[str, float]:
    """Run Snakemake on everything of the paper; return its output, and seconds.

    After `seconds` it gets the signal of Ctrl-C.
    """
    command = [sys.executable, "-m", "snakemake", "all", "extended", *SPLIT, *arguments]
    command += ["--configfile", PAPER]
    start = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        said, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=300)
    elapsed = time.perf_counter() - start
    if process.returncode and seconds is None:
        raise SystemExit(f"cluster.py: snakemake failed:\n{said[-3000:]}")
    return said, elapsed


def measure_plan(folder: Path) -> dict[str, str]:
    """A dry run with nothing made, twice: the second finds the package's code parsed."""
    cold = snakemake(folder, "--dry-run", "--quiet", "all")[1]
    said, warm = snakemake(folder, "--dry-run")
    jobs = re.search(r"^total\s+(\d+)", said, flags=re.MULTILINE)
    return {
        "jobs planned": jobs[1] if jobs else "?",
        "dry run, nothing made": f"{cold:.1f} s, again {warm:.1f} s",
    }


def measure_local(folder: Path) -> dict[str, str]:
    """All jobs on two cores of this machine, and a dry run when all is made."""
    said, seconds = snakemake(folder, "--cores", "2")
    n = len(re.findall(r"^Finished jobid", said, flags=re.MULTILINE))
    said, again = snakemake(folder, "--dry-run")
    assert "Nothing to be done" in said, said[-2000:]
    each = f"{1000 * seconds / n:.0f} ms a job"
    return {
        "local, two cores": f"{n:,} jobs in {seconds / 60:.1f} min: {each}",
        "dry run, all made": f"{again:.1f} s",
    }


def measure_slurm(folder: Path, minutes: float) -> dict[str, str]:
    """As many jobs as Slurm ends in so many minutes, each in a process of its own on the node."""
    import cluster
    from slurm_arguments import write_partitions

    cluster.start()
    try:
        write_partitions(folder)
        arguments = ["--workflow-profile", "profiles/slurm", "--slurm-status-command", "squeue"]
        arguments += ["--slurm-partition-config", "parts.yaml", "--slurm-no-account"]
        arguments += ["--default-resources", "mem_mb=500", "runtime=30", "--jobs", "200"]
        arguments += ["--seconds-between-status-checks", "5", "--latency-wait", "10"]
        arguments += ["--slurm-init-seconds-before-status-checks", "2"]
        said, seconds = snakemake(folder, *arguments, seconds=60 * minutes)
    finally:
        cluster.stop()
    ends = [
        datetime.strptime(stamp, "%b %d %H:%M:%S %Y").timestamp()
        for stamp in re.findall(r"^\[\w+ (.+)\]\nFinished jobid", said, flags=re.MULTILINE)
    ]
    submitted = len(re.findall("has been submitted with SLURM jobid", said))
    failed = len(re.findall(r"^Error in rule", said, flags=re.MULTILINE))
    gaps = [b - a for a, b in zip(ends, ends[1:], strict=False)]
    span = ends[-1] - ends[0]
    return {
        "Slurm, one node of two cores": f"{len(ends):,} jobs ended in {seconds / 60:.1f} min "
        f"({submitted:,} submitted, {failed} failed)",
        "Slurm, steady": f"{span / max(len(ends) - 1, 1):.2f} s a job, of two cores "
        f"{2 * span / max(len(ends) - 1, 1):.1f} s each",
        "Slurm, longest time without a job's end": f"{max(gaps, default=0):.0f} s",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="+", choices=("plan", "local", "slurm"))
    parser.add_argument("--minutes", type=float, default=10, help="of the run on Slurm")
    parser.add_argument("--write", action="store_true", help="into cluster.md")
    options = parser.parse_args()
    found: dict[str, str] = {}
    for what in options.what:
        with tempfile.TemporaryDirectory() as folder:
            project = stub_project(Path(folder))
            if what == "slurm":
                found |= measure_slurm(project, options.minutes)
            else:
                found |= {"plan": measure_plan, "local": measure_local}[what](project)
    rows = "\n".join(f"| {name} | {value} |" for name, value in found.items())
    print(rows)
    if options.write:
        path = HERE / "cluster.md"
        head, _, last = path.read_text().partition(RESULTS)
        kept = [line for line in last.splitlines() if line.startswith("| ") and "---" not in line]
        old = [line for line in kept[1:] if line.split("|")[1].strip() not in found]
        table = "\n".join([*old, rows])
        where = f"{platform.machine()}, {os.cpu_count()} cores."
        last = f"{where}\n\n| what | measured |\n|---|---|\n{table}\n"
        write_text(path, f"{head}{RESULTS}\n{last}")


if __name__ == "__main__":
    main()
