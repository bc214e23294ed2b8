"""Training steps of sparsify, SAELens and dictionary_learning, through benchmarks/peers.

They run in this process, so that all share a device and its state. Packages that they import and
never call in a step may be missing: stubs.py stands for them.
"""

import importlib.util
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import stubs
import torch
from measuring import Bench
from sae_subjects import speed_sizes
from time_limits import failure

BENCHMARKS = Path(__file__).resolve().parents[1]
# Module that each trainer of benchmarks/peers needs.
MODULES = {
    "sparsify": "sparsify",
    "SAELens": "sae_lens",
    "SAELens, no rescaling": "sae_lens",
    "dictionary_learning": "dictionary_learning",
}
ONLY_TOPK = ("sparsify", "SAELens, no rescaling")


@contextmanager
def trainers(bench: Bench) -> Iterator[list[str]]:
    """Yield the names of the trainers that are installed; note those that are not."""
    before = list(sys.path)
    sys.path[:0] = [str(bench.peers)] if bench.peers else []
    sys.path.append(str(BENCHMARKS))
    try:
        found = [name for name, module in MODULES.items() if importlib.util.find_spec(module)]
        missing = sorted(set(MODULES.values()) - {MODULES[name] for name in found})
        if missing:
            bench.report.note(f"not installed, so not measured: {', '.join(missing)}")
        with stubs.stand_ins(stubs.OF_PEERS if found else ()):
            yield found
    finally:
        sys.path[:] = before


def run(bench: Bench, names: list[str], architecture: str, tokens: torch.Tensor) -> None:
    """Measure one step of every trainer on `tokens` [token, d]; one that fails is noted."""
    from peers import train_step
    from peers.protocol import Task
    from training_settings import Setting, make_start

    sizes = speed_sizes(bench)
    if not names:
        return
    folder = Path(tempfile.mkdtemp(dir=bench.folder))
    np.save(folder / "tokens.npy", tokens[:8].cpu().numpy())  # only its width is read
    setting = Setting(architecture, sizes.n, sizes.k)
    np.savez(folder / "start.npz", **make_start(setting, tokens.cpu().numpy()))
    for name in names:
        if name in ONLY_TOPK and architecture != "topk":
            continue
        task = Task(
            trainer=name,
            architecture=architecture,
            n=sizes.n,
            k=sizes.k,
            l1=1.0,
            lr=4e-4,
            batch=len(tokens),
            device=str(bench.device),
            data=folder,
            total_steps=1000,
        )
        try:
            one_peer(bench, train_step.make, task, tokens)
        except Exception as error:
            bench.report.note(f"{name}, {architecture}: {failure(error)}")


def one_peer(bench: Bench, make, task, tokens: torch.Tensor) -> None:
    """Measure one trainer's step and its memory."""
    bench.reset_peak()
    trainer = make(task)
    took = bench.milliseconds(lambda: trainer.step(tokens), 10, 3)
    bench.report.row(
        f"step {len(tokens)}",
        f"{task.trainer} {task.architecture}",
        ms=took,
        Mtokens_per_s=len(tokens) / took / 1e3,
        GB=bench.peak_gigabytes(),
    )
