"""A worker process that trains one SAE step by step, on commands of its driver.

Runs in any environment with torch and NumPy: the peers' and ours. The driver (training.py) writes
one command per line, and every answer is one line of JSON, so that of many workers that hold
their state in memory only one runs at a time.

    steps N    take N training steps; answers {"seconds": of one step}
    report     answers {"peak": bytes, ...} and how well the held-out batch is explained
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TextIO

import numpy as np
import torch

LEVELS = (1 / 8, 1 / 4, 1 / 2, 1)  # nested widths of Matryoshka, as shares of all latents


class Trainer(Protocol):
    """One SAE in training: `step` takes tokens [batch, d_model]."""

    def step(self, x: torch.Tensor) -> None: ...

    def evaluate(self, x: torch.Tensor) -> dict[str, float]:
        """Return explained_variance and l0 on the batch; {} for a model that is not an SAE."""


@dataclass
class Start:
    """Encoder and decoder by rows [latent, d_model], b_dec [d_model], and one encoder bias."""

    W_enc_rows: torch.Tensor
    W_dec: torch.Tensor
    b_dec: torch.Tensor
    bias: float


@dataclass
class Task:
    """The task, the same for every trainer; `l1` is in units of Σ_d error²."""

    trainer: str
    architecture: str
    n: int
    k: int
    l1: float
    lr: float
    batch: int
    device: str
    data: Path
    total_steps: int
    imports: int = field(default=0, init=False)  # resident bytes once everything is imported

    def imported(self) -> None:
        """Note the memory that imports alone take; call it before building the trainer."""
        self.imports = status_bytes("VmRSS")

    def start(self) -> "Start":
        """Return the weights from which every trainer begins."""
        with np.load(self.data / "start.npz") as arrays:
            W_dec, b_dec, scale, bias = (
                torch.from_numpy(arrays[name]).to(self.device)
                for name in ("W_dec", "b_dec", "encoder_scale", "encoder_bias")
            )
        return Start(W_dec * scale, W_dec, b_dec, float(bias))

    @property
    def d_model(self) -> int:
        return np.load(self.data / "tokens.npy", mmap_mode="r").shape[1]


def serve(factory: Callable[[Task], Trainer], versions: Callable[[], dict[str, str]]) -> None:
    """Answer the driver until it closes the pipe."""
    answers = private_stdout()
    task, threads = parse()
    torch.set_num_threads(threads)
    trainer = factory(task)
    tokens = np.load(task.data / "tokens.npy", mmap_mode="r")
    say(answers, {"versions": versions()})
    done = 0
    for line in sys.stdin:
        command, *rest = line.split()
        if command == "steps":
            count = int(rest[0])
            batches = [batch(tokens, done + i, task) for i in range(count)]
            say(answers, {"seconds": timed(trainer, batches, task.device) / count})
            done += count
        elif command == "report":
            say(answers, memory(task) | trainer.evaluate(batch(tokens, -1, task)))


def batch(tokens: np.ndarray, number: int, task: Task) -> torch.Tensor:
    """Return batch `number`, going round; the last one is held out and has number -1."""
    held_out = len(tokens) // task.batch - 1
    first = (held_out if number < 0 else number % held_out) * task.batch
    return torch.tensor(tokens[first : first + task.batch], device=task.device)


def timed(trainer: Trainer, batches: list[torch.Tensor], device: str) -> float:
    """Return the seconds that the steps take together."""
    synchronise(device)
    start = time.perf_counter()
    for x in batches:
        trainer.step(x)
    synchronise(device)
    return time.perf_counter() - start


def synchronise(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def memory(task: Task) -> dict[str, int]:
    """Return the process's peak, what its imports took of it, and the accelerator's peak."""
    device = torch.cuda.max_memory_allocated() if task.device != "cpu" else 0
    return {"peak": status_bytes("VmHWM"), "imports": task.imports, "device_peak": device}


def status_bytes(key: str) -> int:
    """Read one size of this process. (getrusage's peak starts at that of the parent process.)"""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no {key} in /proc/self/status; memory is measured on Linux only.")


def explained_variance(x: torch.Tensor, x_hat: torch.Tensor) -> float:
    """1 - Σ‖x - x̂‖² / Σ‖x - mean‖² over a batch [token, d_model]."""
    return float(1 - (x - x_hat).square().sum() / (x - x.mean(dim=0)).square().sum())


def private_stdout() -> TextIO:
    """Keep the pipe for answers: output of packages goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


def say(answers: TextIO, message: dict) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


def parse() -> tuple[Task, int]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trainer", required=True)
    parser.add_argument("--architecture", required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder that the driver made")
    for name in ("n", "k", "batch", "total-steps", "threads"):
        parser.add_argument(f"--{name}", type=int, required=True)
    for name in ("l1", "lr"):
        parser.add_argument(f"--{name}", type=float, required=True)
    parser.add_argument("--device", default="cpu")
    options = vars(parser.parse_args())
    threads = options.pop("threads")
    return Task(**options), threads
