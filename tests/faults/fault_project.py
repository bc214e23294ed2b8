"""A small project whose jobs last long enough to be disturbed, and the tools to disturb them.

One recipe, one table: 150 ranges to extract and 3,000 steps to train, seconds each. Faults are
injected from outside – signals, limits, disks, files – into the workflow as it is.
"""

import contextlib
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
from PIL import Image
from small_project import CLASSES, Project, new_project, small_config

TARGETS = ("results/table4.csv", "results/table4.md")
TRAIN = "train_sae"
# Often enough that a killed training has saved one.
CHECKPOINTS = ("--set-resources", f"{TRAIN}:checkpoint_every_steps=200")
IMAGES = 300  # of the training split: two in a range


def fault_config(path: Path) -> dict:
    """Return the small project's config with one recipe, many ranges and many steps."""
    config = small_config(path)
    config["activations"] |= {"min_shards": 150}
    recipe = config["saes"]["topk_resid"] | {"batch_tokens": 17, "epochs": 10}
    config["saes"] = {"topk_resid": recipe}
    config["analyses"]["reconstruction"] |= {"table3": [], "table4": ["topk_resid"]}
    config["analyses"]["l0"]["recipe"] = "topk_resid"
    return config


def write_more_images(root: Path) -> None:
    rng = np.random.default_rng(1)
    for name in CLASSES:
        for i in range(8, IMAGES // len(CLASSES)):
            pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / "train" / name / f"{name}_{i:05d}.png")


def new_fault_project(path: Path) -> "FaultProject":
    """Make a project with nothing built yet."""
    project = FaultProject(new_project(path).path)
    project.write_config(fault_config(path))
    write_more_images(path / "images")
    return project


class Run:
    """A running snakemake; its output goes to a file."""

    def __init__(self, project: "FaultProject", arguments: tuple[str, ...]) -> None:
        self.output_path = project.path / f"run-{time.time_ns()}.txt"
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
        with open(self.output_path, "w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "snakemake", *arguments],
                cwd=project.path,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # its process group finds and ends all jobs
            )

    @property
    def output(self) -> str:
        return self.output_path.read_text()

    def job(self, rule: str) -> psutil.Process | None:
        """Return the Python process of a job, also one that outlived snakemake.

        Args:
            rule: start of its rule's name. Every job runs the same script, so the log that the
                process has open identifies it.
        """
        for process in filter(self._owns, psutil.process_iter()):
            with contextlib.suppress(psutil.Error):
                if not any(word.endswith(".step.py") for word in process.cmdline()):
                    continue
                ours = any(f"/logs/{rule}" in file.path for file in process.open_files())
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    return process
        return None

    def wait_for_job(self, rule: str) -> psutil.Process:
        found: list[psutil.Process | None] = [None]

        def there() -> bool:
            found[0] = self.job(rule)
            return found[0] is not None

        self.wait_until(there, f"{rule} runs")
        return found[0]

    def wait_until(self, condition: Callable[[], bool], what: str, seconds: float = 120) -> None:
        """Poll until the condition holds; fail if the run ends before."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, f"ended before {what}:\n{self.output}"
            assert time.monotonic() < deadline, f"waited in vain: {what}\n{self.output}"
            time.sleep(0.005)

    def kill(self) -> None:
        """Kill snakemake itself with -9, but not its jobs."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def wait(self, seconds: float = 300) -> int:
        return self.process.wait(seconds)

    def end(self) -> None:
        """End snakemake and all its jobs."""
        for process in psutil.process_iter():
            if self._owns(process):
                process.kill()
        self.process.wait()

    def _owns(self, process: psutil.Process) -> bool:
        try:
            return os.getpgid(process.pid) == self.process.pid
        except ProcessLookupError:
            return False


class FaultProject(Project):
    """A project in which tests start and disturb runs."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.runs: list[Run] = []
        self.targets: tuple[str, ...] = TARGETS

    def start(self, *arguments: str) -> Run:
        run = Run(self, (*self.targets, *arguments, "--cores", "2"))
        self.runs.append(run)
        return run

    def run_once(self, *arguments: str) -> Run:
        """Run one snakemake to its end, with or without an error."""
        run = self.start(*arguments)
        run.wait()
        return run

    def clip_sae(self, *arguments: str) -> subprocess.CompletedProcess:
        """Run `python -m clip_sae …` in the project."""
        environment = os.environ | {"PYTHONPATH": str(self.path / "src")}
        command = [sys.executable, "-m", "clip_sae", *arguments]
        return subprocess.run(
            command, cwd=self.path, env=environment, capture_output=True, text=True, timeout=300
        )

    def forget(self, *folders: str) -> None:
        """Remove folders below results and the tables, so that a run makes them again."""
        for name in (*folders, "measurements"):
            shutil.rmtree(self.path / "results" / name, ignore_errors=True)
        for table in (self.path / "results").glob("table*"):
            table.unlink()

    # --- what is on disk ----------------------------------------------------------------------

    @property
    def store(self) -> Path:
        """Return the store of the training split."""
        [spec] = self.path.glob("results/activations/*/general-train/*/spec.json")
        return spec.parent

    def start_and_reach(self, ranges: int, *arguments: str) -> tuple[Run, psutil.Process]:
        """Start a run that extracts everything; return it and its job after this many ranges."""
        self.forget("activations", "saes")
        run = self.start(*arguments)
        run.wait_until(lambda: len(self.finished_ranges()) > 0, "the first range is written")
        job = run.job("extract_")  # the other split's job uses both cores too
        run.wait_until(lambda: len(self.finished_ranges()) >= ranges, f"{ranges} are written")
        return run, job

    def train_and_reach_checkpoint(self) -> tuple[Run, psutil.Process]:
        """Start a run that trains everything; return it and its job after the first checkpoint."""
        self.forget("saes")
        run = self.start(*CHECKPOINTS)
        job = run.wait_for_job("train_")
        run.wait_until(lambda: self.checkpoint() is not None, "a checkpoint is written")
        return run, job

    def finished_ranges(self) -> dict[str, int]:
        """Return {part file: time of writing} of the training store; {} before it exists."""
        parts = self.path.glob("results/activations/*/general-train/*/parts/*.json")
        return {part.name: part.stat().st_mtime_ns for part in parts}

    def checkpoint(self) -> Path | None:
        found = [*self.path.glob("results/saes/*/*/*/checkpoint/state.safetensors")]
        return found[0] if found else None

    def content(self) -> dict[str, str]:
        """Return {path: sha256} of the tables, the SAE and the stores' chunks, which must be equal.

        Records of the run itself are left out: times in sidecars, logs, benchmarks.
        """
        results = self.path / "results"
        files = [
            *results.glob("table4.*[vdl]"),
            *results.glob("measurements/**/*.csv"),
            *results.glob("saes/**/sae_weights.safetensors"),
            *results.glob("saes/**/curve.csv"),
            *results.glob("activations/**/c/**/*"),
            *results.glob("activations/**/parts/*.json"),
        ]
        return {
            str(file.relative_to(results)): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in files
            if file.is_file() and ".tmp" not in file.parts
        }

    def tables(self) -> dict[str, str]:
        """Return the sha256 of the existing final tables."""
        return {name: h for name, h in self.content().items() if name.startswith("table4.")}


def without_places(text: str, project: FaultProject) -> str:
    """Return a message without folders, process numbers and times, which differ between runs."""
    text = text.replace(f"{project.path}/", "").replace(str(project.path), "the project")
    text = re.sub(r"process \d+ on \S+, since [^,]+, in [^,;)]+", "process … on …, since …", text)
    text = re.sub(r"\S*/bin/python\S* (\S*/)tmp\w+\.", r"python \1", text)
    text = re.sub(r"(\.tmp/[\w-]+)\.\S+\.[0-9a-f]{32}", r"\1", text)
    text = re.sub(r"^\s*(\[[^]]*\]|\d\d:\d\d:\d\d)\s*", "", text)
    return " ".join(text.split())
