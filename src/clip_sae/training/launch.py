"""Training from a store or from images, by one process or by several that share every batch.

Not in the papers. For one SAE that is too slow for one device: each process takes its share of the
tokens of every batch, on a device of its own, and gradients are added up (parallel.py). This
process is the first of them; it starts the others, logs, and writes all files.
"""

from __future__ import annotations

import contextlib
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
import torch.distributed

from clip_sae.store import ActivationStore, TokenStream
from clip_sae.training.checkpoint import TrainTarget
from clip_sae.training.passes import train_saes
from clip_sae.training.source import TrainingError, pinned

READY = b"ready\n"


class Tokens(Protocol):
    """Tokens that every process of a training opens for itself; the same batches in each."""

    def open(
        self,
        *,
        on_gpu: bool = False,
        threads: int = 1,
        progress: bool = False,
        log: Callable[[str], None] = print,
    ) -> TokenStream:
        """Return the stream; for a GPU in its dtype on disk and in pinned memory.

        `threads` make the tokens; `progress` and `log` report that where it takes long.
        """
        ...


@dataclass(frozen=True)
class StoreTokens:
    """Tokens of a store, shuffled, which every process opens for itself."""

    path: Path
    batch_tokens: int
    seed: int
    tokens: str = "all"

    def open(
        self,
        *,
        on_gpu: bool = False,
        threads: int = 1,
        progress: bool = False,
        log: Callable[[str], None] = print,
    ) -> TokenStream:
        """Return the stream; see `Tokens.open`. `threads` read the store."""
        return TokenStream(
            ActivationStore(self.path),
            batch_tokens=self.batch_tokens,
            seed=self.seed,
            tokens=self.tokens,
            threads=threads,
            **({"raw": True, "allocate": pinned} if on_gpu else {}),
        )


def train_on_store(
    targets: list[TrainTarget],
    tokens: Tokens,
    *,
    processes: int = 1,
    device: str = "auto",
    threads: int = 1,
    checkpoint_every_steps: int = 500,
    progress: bool = True,
    log: Callable[[str], None] = print,
) -> None:
    """Train every target that is not finished from a store or from images; see `train_saes`.

    `processes` > 1: data parallel, process i on GPU i if `device` is not "cpu", else on
    `threads` // `processes` CPU threads. The result is that of one process up to rounding.
    """
    options = {"checkpoint_every_steps": checkpoint_every_steps}
    shown = {"progress": progress, "log": log}
    on_gpu = device != "cpu" and torch.cuda.is_available()
    if processes == 1:
        return _train(targets, tokens, on_gpu, threads, device=device, **options, **shown)
    if on_gpu and torch.cuda.device_count() < processes:
        raise TrainingError(
            f"{processes} processes were requested, each with a GPU of its own, and "
            f"{torch.cuda.device_count()} are visible. Request fewer processes or more GPUs."
        )
    share = max(1, threads // processes)
    log(f"training in {processes} processes, {'one GPU' if on_gpu else f'{share} threads'} each")
    with tempfile.TemporaryDirectory() as folder:
        meeting = f"file://{folder}/meeting"
        work = pickle.dumps((targets, tokens, on_gpu, share, options, processes, meeting))
        with _helpers(work, processes - 1):
            _run(0, work, **shown)


def _train(
    targets: list[TrainTarget],
    tokens: Tokens,
    on_gpu: bool,
    threads: int,
    *,
    progress: bool,
    log: Callable[[str], None],
    **options: object,
) -> None:
    # A GPU leaves the job's cores to the reading; on a CPU training needs them.
    readers = threads if on_gpu else 1
    stream = tokens.open(on_gpu=on_gpu, threads=readers, progress=progress, log=log)
    shown = {"progress": progress, "log": log}
    train_saes(targets, stream, d_model=stream.d_model, threads=threads, **shown, **options)


def _run(rank: int, work: bytes, progress: bool, log: Callable[[str], None]) -> None:
    targets, tokens, on_gpu, threads, options, size, meeting = pickle.loads(work)
    if on_gpu:
        torch.cuda.set_device(rank)  # where events and pinned copies of this process belong
    torch.distributed.init_process_group(
        "nccl" if on_gpu else "gloo", init_method=meeting, rank=rank, world_size=size
    )
    device = f"cuda:{rank}" if on_gpu else "cpu"
    try:
        shown = {"progress": progress, "log": log}
        _train(targets, tokens, on_gpu, threads, device=device, **options, **shown)
    finally:
        torch.distributed.destroy_process_group()


@contextlib.contextmanager
def _helpers(work: bytes, count: int) -> Iterator[None]:
    """Run the other processes; none of them outlives this context."""
    started = []
    try:
        for rank in range(1, count + 1):
            command = [sys.executable, "-c", f"from {__name__} import help_train; help_train()"]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            process = subprocess.Popen([*command, str(rank)], **pipes)
            started.append(process)
            process.stdin.write(work)
            process.stdin.close()
        for process in started:  # the meeting would wait forever for one that has died
            if process.stdout.readline() != READY:
                raise TrainingError(
                    f"a process of the training could not start (exit code {process.wait()}); its "
                    "message is above."
                )
        yield
        for process in started:
            if process.wait() != 0:
                raise TrainingError(
                    f"a process of the training ended with exit code {process.returncode}; its "
                    "message is above."
                )
    finally:
        for process in started:
            process.kill()
            process.wait()


def help_train() -> None:
    """Run one of the other processes; its work comes through a pipe from the first."""
    work = sys.stdin.buffer.read()
    sys.stdout.buffer.write(READY)
    sys.stdout.buffer.flush()
    _run(int(sys.argv[1]), work, progress=False, log=lambda _: None)
