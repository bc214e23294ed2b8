"""One pass over a stream of tokens that trains any number of SAEs, resumable at checkpoints.

Steering paper §3 (SAEs of one layer share their tokens). Every batch is read and normed once and
taken by each SAE in turn; an SAE's weights do not depend on its companions, to the bit.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from clip_sae.planning.recipes import pass_keys
from clip_sae.training.checkpoint import (
    TrainTarget,
    clear_unfinished,
    drop_checkpoint,
    finish,
    is_finished,
    load_checkpoint,
    save_checkpoint,
)
from clip_sae.training.fast import method_of
from clip_sae.training.learner import Learner
from clip_sae.training.parallel import Replicas
from clip_sae.training.progress import Progress
from clip_sae.training.selection import uses_bfloat16
from clip_sae.training.source import (
    DeviceCopies,
    StartingPoints,
    TokenSource,
    TrainingError,
    batches,
)
from clip_sae.training.targets import BatchTargets
from clip_sae.training.weights import initial_weights
from clip_sae.training.workspace import Workspace

CURVE_ROWS = 200  # a curve has about this many rows


@dataclass(eq=False)
class TrainingRun:
    """An unfinished target with its learner and its curve so far."""

    target: TrainTarget
    learner: Learner
    curve: list[dict]
    key: str


def train_saes(
    targets: list[TrainTarget],
    stream: TokenSource,
    *,
    d_model: int,
    device: str = "auto",
    threads: int | None = None,
    checkpoint_every_steps: int = 500,
    progress: bool = True,
    log: Callable[[str], None] = print,
) -> None:
    """Train every target that is not finished, in one pass over `stream`.

    `stream` yields float32 [token, d_model] batches. `device`: "auto", "cpu", "cuda", …;
    `threads`: torch's threads on the CPU, None leaves them. Killed at any moment and called again,
    it continues from the last checkpoints and ends at the same bits. Raises TrainingError when
    targets cannot share a pass, tokens have another width, or a loss is no longer finite (after the
    other SAEs of the pass are finished and saved).
    """
    replicas = Replicas.current()
    steps = _check_one_pass(targets, stream, replicas)
    open_targets = [target for target in targets if not is_finished(target, d_model)]
    for target in targets:
        if target not in open_targets:
            log(f"{target.variant}: already trained, {target.folder}")
            drop_checkpoint(target)  # of a run that was killed between its last two steps
    if not open_targets:
        return
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    with _thread_limit(threads), torch.no_grad():
        runs = _open_runs(open_targets, stream, steps, d_model, torch.device(device), replicas, log)
        replicas.wait()  # all have read the checkpoints before the first writes one
        feed = getattr(stream, "feed_report", None)  # only some streams have one
        bar = Progress(steps, progress, log, feed)
        diverged = _run(runs, stream, steps, d_model, checkpoint_every_steps, bar)
        for run in runs:
            for tensor in run.learner.weights.tensors().values():
                replicas.check_same(tensor)
            if replicas.rank == 0:
                finish(run.target, run.learner, run.curve, d_model)
    if diverged:  # the others are finished and kept
        raise TrainingError("\n".join(diverged))


def _run(
    runs: list[TrainingRun],
    stream: TokenSource,
    steps: int,
    d_model: int,
    checkpoint_every_steps: int,
    progress: Progress,
) -> list[str]:
    """Train all runs, taking out those that diverge; return a sentence for each of these."""
    diverged: list[str] = []
    device = runs[0].learner.weights.b_dec.device
    copy = DeviceCopies(d_model, device)
    start = min(run.learner.steps_done for run in runs)
    curve_every = max(1, steps // CURVE_ROWS)
    with progress:
        for step, batch in batches(stream, start, steps):
            tokens = BatchTargets(copy(batch))
            measure = step % curve_every == 0 or step + 1 == steps
            # One resumed from a later checkpoint waits until the stream has caught up.
            current = [run for run in runs if run.learner.steps_done == step]
            for run in current:
                if reason := _step(run, tokens, measure=measure):
                    diverged.append(reason)
                    runs.remove(run)
            current = [run for run in current if run in runs]
            if not runs:
                return diverged
            progress.advance(step + 1, len(batch), [run.curve for run in current])
            if (step + 1) % checkpoint_every_steps == 0 and step + 1 < steps:
                for run in current:
                    if run.learner.replicas.rank == 0:
                        save_checkpoint(run.target, run.learner, run.curve, run.key)
    for run in runs:
        if run.learner.steps_done < steps:
            raise TrainingError(
                f"the stream ended after {run.learner.steps_done} of {steps} batches; its "
                f"n_batches is {stream.n_batches}. Check the store with `clip_sae verify`."
            )
    return diverged


def _step(run: TrainingRun, tokens: BatchTargets, *, measure: bool) -> str | None:
    """Take one step; return a sentence if the loss is no longer finite, else None."""
    row = run.learner.step(tokens, measure=measure)
    if row is None:
        return None
    if not math.isfinite(row["loss"]):
        return (
            f"{run.target.variant}: the loss is {row['loss']} at step {row['step']} "
            f"(lr {run.target.recipe.lr:g}, {run.target.folder}). Lower lr, or raise "
            f"warmup_steps, and run again; if it happens at step 1, the tokens are not finite: "
            f"verify the store."
        )
    run.curve.append(row)
    return None


def _open_runs(
    targets: list[TrainTarget],
    stream: TokenSource,
    steps: int,
    d_model: int,
    device: torch.device,
    replicas: Replicas,
    log: Callable[[str], None],
) -> list[TrainingRun]:
    """Return a learner per target: resumed where a checkpoint fits, else from the start."""
    workspace = Workspace()
    starts = StartingPoints(stream, d_model, device)
    runs = []
    for target in targets:
        recipe = target.recipe
        recipe.check_width(target.variant, d_model)
        clear_unfinished(target)
        key = f"{target.digest(d_model)}/{steps}"
        found = load_checkpoint(target, key)
        b_dec = torch.zeros(d_model, device=device) if found else starts.b_dec(recipe)
        weights = initial_weights(
            d_model, recipe.d_sae(d_model), b_dec, recipe.seed, row_norm=recipe.initial_row_norm
        )
        run = TrainingRun(target, Learner(recipe, weights, steps, workspace, replicas), [], key)
        if found:
            state, run.curve = found
            run.learner.restore(state)
            log(f"{target.variant}: resuming at step {run.learner.steps_done} of {steps}")
        runs.append(run)
    if any(run.learner.method.selects for run in runs):
        low = any(uses_bfloat16(w.b_dec, w) for w in (one.learner.weights for one in runs))
        log(f"the largest latents are found in {'bfloat16, checked in ' if low else ''}float32")
    return runs


def _check_one_pass(targets: list[TrainTarget], stream: TokenSource, replicas: Replicas) -> int:
    """Return the number of steps, the same for all targets."""
    if not targets:
        raise TrainingError("no SAE to train: the list of targets is empty.")
    for key in pass_keys():
        values = sorted({str(getattr(target.recipe, key)) for target in targets})
        if len(values) > 1:
            raise TrainingError(
                f"SAEs of one pass share {key}, got {', '.join(values)}. Train them separately."
            )
    alone = {t.recipe.architecture for t in targets if not method_of(t.recipe.own).shares_batches}
    if replicas.size > 1 and alone:
        raise TrainingError(
            f"{', '.join(sorted(alone))}: an architecture without a fast pass sees the whole batch "
            f"and cannot be trained in {replicas.size} processes. Use one."
        )
    ghosts = [target.variant for target in targets if target.recipe.ghost_grads]
    if replicas.size > 1 and ghosts:
        raise TrainingError(
            f"{', '.join(ghosts)}: ghost gradients depend on the whole batch's error and cannot "
            f"be trained in {replicas.size} processes. Use one, or `ghost_grads: false`."
        )
    folders = [Path(target.folder) for target in targets]
    if len(set(folders)) < len(folders):
        raise TrainingError(f"two targets share a folder: {sorted(map(str, folders))}.")
    return targets[0].recipe.total_steps(stream.n_batches)


@contextlib.contextmanager
def _thread_limit(threads: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
