"""One job: its arguments, log, device and threads, and the record it publishes last."""

import json
import logging
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from clip_sae.planning.artefacts import COMPLETE, read_fingerprints, write_sidecar
from clip_sae.planning.plan import WRITER
from clip_sae.planning.reads import received
from clip_sae.planning.scatter import PARTS
from clip_sae.planning.specs import code_digest
from clip_sae.running.gpus import GpuClaim
from clip_sae.running.locks import Holder, NoLocks, wait_for

PACKAGE = Path(__file__).resolve().parents[2]  # the folder that holds clip_sae


@dataclass(frozen=True)
class Made:
    """One artefact that the job makes.

    `path`: its file, or the COMPLETE.json of its folder. `record`: the recorded part of its spec.
    """

    path: Path
    sidecar: Path
    record: Mapping

    @property
    def folder(self) -> Path:
        return self.path.parent

    @property
    def spec(self) -> Mapping:
        """The values that enter its digest."""
        return self.record["spec"]


class Job:
    """One job of a rule, as the step's function sees it.

    Attributes:
        run: the function, "module:function"; arguments: its keyword arguments.
        records: True if the function writes the records itself; draws: True if it returns a figure.
        made: {key: artefact}, as the rule names its outputs; one output has the key "".
        part: "2-of-8" or "begin" if the job is a part of a whole, else None.
        gathers: number of parts that were made before the whole.
        device: "cpu" for a job without a GPU, else "auto": its own GPU, if one is visible.
        threads: CPU threads that the job may use.
        facts: entries that the function adds to the record, such as the number of images.
        own_fingerprints: {source: fingerprint} of external content that this job hashes.
    """

    def __init__(self, snakemake) -> None:
        spec = json.loads(snakemake.params.step)
        self.run: str = spec["run"]
        self.records: bool = spec["records"]
        self.draws: bool = spec["draws"]
        self.arguments: dict = received(spec["arguments"])
        self.made = _all_made(spec["makes"])
        # The whole of which this job makes a part; a part writes into its folder.
        self.whole = self.made if spec["whole"] is None else _all_made(spec["whole"])
        self.part: str | None = spec.get("part")
        self.gathers: int = spec.get("gathers", 0)
        self.sidecars: list = spec["sidecars"]
        self.code: dict | None = spec["code"]
        self.resources_folder = Path(spec["resources_folder"])
        self.threads: int = snakemake.threads
        self.facts: dict = {}
        self.own_fingerprints: dict = {}
        self._discarded: list[Path] = []
        self.started = time.time()
        self._logs = Path(spec["logs"])
        no_locks = _wait_for_predecessor(Path(snakemake.log[0]))
        self.log = _start_log(str(snakemake.log[0]), snakemake.rule)
        if no_locks:
            self.log.warning("a second copy of this job would not be noticed: %s", no_locks)
        _date_back(snakemake.input)
        self._began_with = self._code_today()
        for made in self.made.values():
            check_versions(made.record)
            self._check_code(made.record, "since the run was planned, so nothing was made")
        self._resources = snakemake.resources
        gpus = snakemake.resources.get("gpu", 0)
        self.device = "auto" if gpus else "cpu"
        if gpus:  # before torch looks for devices; the claim lasts as long as the process
            self._claim = GpuClaim(gpus, say=self.log.info)
            self.log.info("GPU: %s", ", ".join(self._claim.devices) or "none is visible here")

    # --- outputs --------------------------------------------------------------------------------

    @property
    def output(self) -> Made:
        """The only artefact of the job, or the first."""
        return next(iter(self.made.values()))

    @property
    def folder(self) -> Path:
        """The output's folder, for a part that of the whole; it is created if missing."""
        folder = next(iter(self.whole.values())).folder
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def discard_later(self, path: Path) -> None:
        """Remove a file or folder after publishing; until then a killed job needs it."""
        self._discarded.append(Path(path))

    # --- running ---------------------------------------------------------------------------------

    def hold_stores(self, folders: Iterable[Path], shared: bool) -> None:
        """Lock these stores, and wait for jobs that still write into them.

        Parts of an extraction write at the same time (`shared`); a job that starts a store again,
        or gathers its parts, locks it exclusively. Only a job of a killed snakemake can hold a
        lock.
        """

        def say(holder: Holder | None) -> None:
            self.log.info("waiting: a job of a snakemake that has ended still writes this store")

        for folder in sorted(folders):  # in one order, so that no two wait for each other
            name = "-".join(folder.parts[-3:])
            with suppress(NoLocks):  # reported for this job's own lock
                wait_for(self._logs / f".{name}.lock", say, shared=shared)

    def torch_device(self) -> str:
        """Return the device for torch: "cuda" if the job has a GPU and one is available."""
        import torch  # steps that draw or gather never import it

        return "cuda" if self.device == "auto" and torch.cuda.is_available() else "cpu"

    def batch(self, name: str) -> int:
        """Return the rule's resource `name`, on a GPU `name`_gpu if it exists."""
        own = self._resources.get(f"{name}_gpu")
        return own if own and self.torch_device() == "cuda" else getattr(self._resources, name)

    # --- the record -----------------------------------------------------------------------------

    def fingerprints(self) -> dict:
        """Return the fingerprints of all external content behind the inputs."""
        return read_fingerprints(Path(path) for path in self.sidecars)

    def identity(self) -> dict:
        """Return the inputs of intermediate results besides the spec: external content, code."""
        return {"fingerprints": self.fingerprints(), "code": self._began_with}

    def publish(self, made: Made, **facts: object) -> None:
        """Write the record of a complete artefact; a job does this last.

        Raises RuntimeError if the step's code was edited while the job ran: its output would have
        the digest of other code.
        """
        self._check_code(made.record, "while the job ran, so its output was not published")
        facts = {
            "seconds": round(time.time() - self.started, 3),
            "python": platform.python_version(),
            "threads": self.threads,
            **({"holds": self._content_of(made.folder)} if made.path.name == COMPLETE else {}),
            **self.facts,
            **facts,
        }
        prints = self.fingerprints() | self.own_fingerprints
        write_sidecar(made.sidecar, made.record, prints, **facts)

    def clear(self) -> None:
        """Remove the files and folders of `discard_later`."""
        for path in self._discarded:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def _content_of(self, folder: Path) -> list[str]:
        """Return names of the files and folders of a complete artefact, for its record.

        The marks of parts are not among them.
        """
        folder.mkdir(parents=True, exist_ok=True)
        names = {path.name for path in folder.iterdir() if path not in self._discarded}
        return sorted(n for n in names - {COMPLETE, PARTS} if not n.startswith("."))

    def _check_code(self, record: Mapping, when: str) -> None:
        today = self._code_today()
        # The record of a part of a job has no code: compare with the code at its start.
        if today is not None and today != record["spec"].get("code", self._began_with):
            raise RuntimeError(f"the code of {self.run} changed {when}. Run snakemake again.")

    def _code_today(self) -> str | None:
        """Return the digest of the step's code; None if a version stands for it."""
        if self.code is None:
            return None
        files = [self.resources_folder / name for name in self.code["resources"]]
        return code_digest([self.run.partition(":")[0], WRITER], PACKAGE, files)


def _all_made(makes: Mapping) -> dict[str, Made]:
    return {
        key: Made(Path(made["path"]), Path(made["sidecar"]), made["record"])
        for key, made in makes.items()
    }


def _wait_for_predecessor(log: Path) -> str:
    """Wait for the same job of a killed snakemake, if its process is still running.

    Both would write the same files, and the second continues from the files of the first. Returns
    the reason if the file system has no locks, else "".
    """

    def say(holder: Holder | None) -> None:
        print(
            f"waiting: this job is still running for a snakemake that has ended ({holder}). Let it "
            "end or stop it: this run uses its finished files and makes the rest.",
            file=sys.stderr,
            flush=True,
        )

    try:
        wait_for(log.with_name(f".{log.name}.lock"), say)
    except NoLocks as error:
        return str(error)
    return ""


def _date_back(paths: Iterable[str]) -> None:
    """Set the time of files from the future to now; content and records decide, not times.

    Snakemake refuses an output older than an input, so a clock that was once ahead would stop every
    run until that day.
    """
    for path in paths:
        with suppress(OSError):  # another user's file: Snakemake reports it
            if os.path.getmtime(path) > time.time():
                os.utime(path)


def check_versions(record: Mapping) -> None:
    """Raise RuntimeError if this code has another stage version than the planned record."""
    # Imported dynamically, so a version bump does not change the code digest of analyses.
    stages = import_module("clip_sae.planning.versions").STAGE_VERSIONS
    for key, ours in stages.get(record["stage"], {}).items():
        planned = record["spec"][key]
        if planned != ours:
            raise RuntimeError(
                f"the run was planned with {key} {planned} of the stage {record['stage']!r} and "
                f"its code has {ours} now (planning/versions.py was edited while it ran), so "
                f"nothing was made. Run snakemake again."
            )


def _start_log(path: str, rule: str) -> logging.Logger:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    form = logging.Formatter(f"%(asctime)s {rule}: %(message)s", "%H:%M:%S")
    handlers = [logging.FileHandler(path, mode="w"), logging.StreamHandler(sys.stderr)]
    for handler in handlers:
        handler.setFormatter(form)
    logging.raiseExceptions = False  # a full disk: the log is cut, the message goes to the terminal
    logging.basicConfig(level=logging.INFO, handlers=handlers, force=True)
    sys.excepthook = _log_exception
    return logging.getLogger("clip_sae")


def _log_exception(kind, error, trace) -> None:
    """Write an error to the rule's log as well, with its message last."""
    logging.getLogger("clip_sae").error("%s: %s", kind.__name__, error, exc_info=error)
