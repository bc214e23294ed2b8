"""Our training step against sparsify, SAELens, dictionary_learning, and the machine's limit.

    python3.11 -m venv peers-env
    peers-env/bin/pip install sae-lens==6.54.12 dictionary-learning==0.1.0 eai-sparsify==1.3.3
    python benchmarks/training.py --peers peers-env/bin/python --write

Every trainer is a process of its own that keeps its SAE and waits; in each round all of them take
the same few steps on the same batches, one process after the other, so that a drift in the
machine's speed favours none. A step is whole: forward, backward, clipping, projection, Adam.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from training_report import Measured, conditions, table
from training_settings import PEERS, SETTINGS, Setting, make_start, make_tokens

from clip_sae.planning.specs import write_text

HERE = Path(__file__).resolve().parent
RESULTS = "## Last result\n"


class WorkerError(RuntimeError):
    """A worker ended before its answer; the text is its last line of stderr."""


class Worker:
    """A process that holds one SAE in training and takes steps on request (peers/protocol.py)."""

    def __init__(self, python: str, module: str, arguments: list[str], errors: Path) -> None:
        self._errors = errors
        with open(errors, "w") as stderr:
            self._process = subprocess.Popen(
                [python, "-m", module, *arguments],
                cwd=HERE,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        self.versions = self._answer()["versions"]

    def ask(self, command: str) -> dict:
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> dict:
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            last = self._errors.read_text().strip().splitlines()[-1:]
            raise WorkerError(last[0] if last else f"exit code {self._process.returncode}")
        return json.loads(line)


def main() -> None:
    options = parse()
    reports, everyone = [], []
    with tempfile.TemporaryDirectory() as folder:
        tokens = make_tokens(options.batch, options.batches)
        np.save(Path(folder, "tokens.npy"), tokens)
        for setting in SETTINGS:
            if options.only and setting.name not in options.only:
                continue
            np.savez(Path(folder, "start.npz"), **make_start(setting, tokens))
            found, failures = measure(setting, options, Path(folder))
            reports.append(table(setting, found, failures, options))
            print(reports[-1], flush=True)
            everyone += found
    reports.insert(0, conditions(options, everyone))
    print(reports[0])
    if options.write:
        write("\n".join(reports))


def measure(
    setting: Setting, options: argparse.Namespace, folder: Path
) -> tuple[list[Measured], list[str]]:
    """Step all trainers of a setting in turn; return their figures and the failures."""
    names = ["ours", *(PEERS[setting.architecture] if options.peers else ())]
    names.append("encoder product float32")
    if options.device != "cpu" or fast_bfloat16():
        names.append("encoder product bfloat16")
    names.append("bytes of Adam")
    workers, failures = {}, []
    try:
        for name in names:
            try:
                workers[name] = start(name, setting, options, folder)
                workers[name].ask(f"steps {options.warm_up}")
            except WorkerError as error:
                workers.pop(name, None)
                failures.append(f"{name}: {error}")
        seconds = {name: [] for name in workers}
        for number in range(options.rounds):
            turn = number % len(workers)
            for name in [*workers][turn:] + [*workers][:turn]:
                time.sleep(options.pause)  # the threads of the one before go to sleep
                seconds[name].append(workers[name].ask(f"steps {options.steps}")["seconds"])
        found = [
            Measured(name, seconds[name], worker.ask("report"), worker.versions)
            for name, worker in workers.items()
        ]
    finally:
        for worker in workers.values():
            worker.close()
    return found, failures


def start(name: str, setting: Setting, options: argparse.Namespace, folder: Path) -> Worker:
    """Start the worker of a name with the setting's sizes; return once it has its SAE."""
    is_peer = name in PEERS[setting.architecture]
    total = options.warm_up + options.rounds * options.steps
    arguments = {
        "trainer": name,
        "architecture": setting.architecture,
        "data": folder,
        "n": setting.n,
        "k": setting.k,
        "l1": setting.l1,
        "lr": options.lr,
        "batch": options.batch,
        "threads": options.threads,
        "total-steps": total,
        "device": options.device,
    }
    return Worker(
        options.peers if is_peer else sys.executable,
        "peers.train_step" if is_peer else "training_worker",
        [str(word) for key, value in arguments.items() for word in (f"--{key}", value)],
        folder / "stderr.txt",
    )


def fast_bfloat16() -> bool:
    """Return True if the CPU multiplies bfloat16 in hardware, so that its product is a limit."""
    flags = Path("/proc/cpuinfo").read_text().split()
    return "avx512_bf16" in flags or "amx_bf16" in flags


def write(results: str) -> None:
    """Replace the results in training.md; the text above them stays."""
    path = HERE / "training.md"
    text, _, _ = path.read_text().partition(RESULTS)
    write_text(path, f"{text}{RESULTS}\n{results}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", help="Python of the environment that has the peers")
    parser.add_argument("--only", nargs="*", help=f"of {', '.join(s.name for s in SETTINGS)}")
    parser.add_argument("--batch", type=int, default=1024, help="tokens per step")
    parser.add_argument("--batches", type=int, default=64, help="in the data; the last: held out")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=4, help="per round and trainer")
    parser.add_argument("--warm-up", type=int, default=3, help="steps before the first round")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--lr", type=float, default=4e-4)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--pause", type=float, default=0.2, help="seconds between two trainers")
    parser.add_argument("--write", action="store_true", help="put the results into training.md")
    options = parser.parse_args()
    unknown = set(options.only or ()) - {setting.name for setting in SETTINGS}
    if unknown:
        known = ", ".join(setting.name for setting in SETTINGS)
        parser.error(f"--only {' '.join(sorted(unknown))}: no such setting; there are {known}.")
    return options


if __name__ == "__main__":
    main()
