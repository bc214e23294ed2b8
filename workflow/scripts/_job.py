"""What every adapter needs: arguments, log, device, and publishing with a record of the spec."""

import json
import logging
import os
import platform
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from clip_sae.artefacts import read_fingerprints, write_sidecar
from clip_sae.hardware import GpuClaim
from clip_sae.locks import Holder, NoLocks, wait_for
from clip_sae.specs import code_digest

SCRIPTS = Path(__file__).resolve().parent


class Job:
    """One rule's job: binds the `snakemake` object to plain values.

    Attributes:
        arguments: the values under `arguments` of the rule's spec.
        device: "cpu" where the job was given no GPU, else "auto": one of its own, if there is one.
        threads: CPU threads that the job may use.
    """

    def __init__(self, snakemake) -> None:
        spec = json.loads(snakemake.params.spec)
        self.arguments: dict = spec["arguments"]
        self.makes: dict = spec["makes"]
        self.sidecars: list = spec["sidecars"]
        self.code: dict = spec["code"]
        self.threads: int = snakemake.threads
        self.started = time.time()
        self._logs = Path(snakemake.log[0]).parent
        no_locks = _wait_for_predecessor(Path(snakemake.log[0]))
        self.log = _start_log(str(snakemake.log[0]), snakemake.rule)
        if no_locks:
            self.log.warning("two of this job at once would not be noticed: %s", no_locks)
        _date_back(snakemake.input)
        self._began_with = self._code_today()
        for made in self.makes.values():
            check_versions(made["record"])
            self._check_code(made["record"], "since the run was planned, so nothing was made")
        self._resources = snakemake.resources
        gpus = snakemake.resources.get("gpu", 0)
        self.device = "auto" if gpus else "cpu"
        if gpus:  # before torch looks for devices; the claim lasts as long as the process
            self._claim = GpuClaim(gpus, say=self.log.info)
            self.log.info("GPU: %s", ", ".join(self._claim.devices) or "none is visible here")
        if torch := sys.modules.get("torch"):  # adapters that draw or gather never import it
            torch.set_num_threads(self.threads)  # sums depend on it, in the seventh digit

    def hold_stores(self, folders: Iterable[Path], shared: bool) -> None:
        """Wait for jobs that still write into these stores, and keep others from them.

        Parts of an extraction write side by side (`shared`); what begins a store anew, or gathers
        its parts, is alone with it. Only a job that a killed snakemake left can be in the way.
        """

        def tell(holder: Holder | None) -> None:
            self.log.info("waiting: a job of a snakemake that has ended still writes this store")

        for folder in sorted(folders):  # in one order, so that no two wait for each other
            name = "-".join(folder.parts[-3:])
            with suppress(NoLocks):  # has been said of this job's own lock
                wait_for(self._logs / f".{name}.lock", tell, shared=shared)

    def torch_device(self) -> str:
        """The device for torch: "cuda" where the job was given a GPU and there is one."""
        import torch  # adapters that draw or gather never import it

        return "cuda" if self.device == "auto" and torch.cuda.is_available() else "cpu"

    def batch(self, name: str) -> int:
        """The rule's resource of that name; on a GPU the one with `_gpu` behind it, if any."""
        own = self._resources.get(f"{name}_gpu")
        return own if own and self.torch_device() == "cuda" else getattr(self._resources, name)

    def record(self, path: str) -> dict:
        """The record of the spec of one output."""
        return self.makes[str(path)]["record"]

    def fingerprints(self) -> dict:
        """Fingerprints of all outside content that the inputs were made from."""
        return read_fingerprints(Path(path) for path in self.sidecars)

    def identity(self) -> dict:
        """What intermediate results depend on beyond the job's spec: outside content, and code."""
        return {"fingerprints": self.fingerprints(), "code": self._began_with}

    def publish(self, path: str, fingerprints: Mapping | None = None, **facts: object) -> None:
        """Write the record of `path`, whose content is whole; the last thing that a job does.

        Raises RuntimeError if the stage's code was edited while the job ran: its output would
        stand under the digest of code that did not make it.
        """
        made = self.makes[str(path)]
        self._check_code(made["record"], "while the job ran, so its output was not published")
        facts = {
            "seconds": round(time.time() - self.started, 3),
            "python": platform.python_version(),
            "threads": self.threads,
            **facts,
        }
        prints = self.fingerprints() if fingerprints is None else fingerprints
        write_sidecar(Path(made["sidecar"]), made["record"], prints, **facts)

    def _check_code(self, record: Mapping, when: str) -> None:
        today = self._code_today()
        # The record of a part of a job has no code: there is only what it began with.
        if today is not None and today != record["spec"].get("code", self._began_with):
            raise RuntimeError(
                f"the code of {self.code['script']} changed {when}. Run snakemake again."
            )

    def _code_today(self) -> str | None:
        """Digest of the code that the stage runs; None where a version stands for it."""
        if self.code["script"] is None:
            return None
        files = [SCRIPTS / f"{self.code['script']}.py"]
        files += [SCRIPTS.parent / "resources" / name for name in self.code["resources"]]
        return code_digest((), SCRIPTS.parent.parent / "src", files)


def _wait_for_predecessor(log: Path) -> str:
    """Wait for the same job of a snakemake that was killed, if its process lives on.

    Both would write the same files. What the first finishes is found by the second, so the wait
    is not lost. Returns why that cannot be seen, where the file system has no locks.
    """

    def tell(holder: Holder | None) -> None:
        print(
            f"waiting: this job is still running for a snakemake that has ended ({holder}). It may "
            "end by itself, or be stopped: what it finishes is used, the rest is made then.",
            file=sys.stderr,
            flush=True,
        )

    try:
        wait_for(log.with_name(f".{log.name}.lock"), tell)
    except NoLocks as error:
        return str(error)
    return ""


def _date_back(paths: Iterable[str]) -> None:
    """Give files from the future today's date: content and records decide here, dates do not.

    Snakemake refuses an output that is older than an input, so a clock that was once ahead would
    stop every run until that day.
    """
    for path in paths:
        with suppress(OSError):  # somebody else's file: Snakemake says what it has against it
            if os.path.getmtime(path) > time.time():
                os.utime(path)


def check_versions(record: Mapping) -> None:
    """Refuse to make with today's code what was planned, and is named, by other code."""
    # By name, so that code digests do not see it: another version is no other code of an analysis.
    stages = import_module("clip_sae.versions").STAGE_VERSIONS
    for key, ours in stages.get(record["stage"], {}).items():
        planned = record["spec"][key]
        if planned != ours:
            raise RuntimeError(
                f"the run was planned with {key} {planned} of the stage {record['stage']!r} and "
                f"its code has {ours} now (clip_sae/versions.py was edited while it ran), so "
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
    """Put an error into the rule's log as well, its sentence last, where a reader looks."""
    logging.getLogger("clip_sae").error("%s: %s", kind.__name__, error, exc_info=error)
