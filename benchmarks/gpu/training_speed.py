"""A training step next to the same step of other packages, in one process and in turn.

Ours runs with float32 products and with TF32. `rounds` counts how often BatchTopK encodes a batch:
once, unless a token's candidates were too few.
"""

from unittest import mock

import peer_steps
import torch
from measuring import Bench, matmul_precision
from sae_subjects import make_learner, make_tokens, speed_sizes
from time_limits import failure
from torch.profiler import ProfilerActivity, profile

from clip_sae.training.encoders import BatchTopKEncoder
from clip_sae.training.learner import Learner
from clip_sae.training.targets import BatchTargets

COMPARED = ("topk", "batchtopk", "vanilla")  # at every batch size, and with the peers
OTHERS = ("matryoshka", "jumprelu", "gated")  # at the smallest batch
DISTINCT_BATCHES = 3
KERNELS = 14  # the longest of a step that the report lists


def run(bench: Bench) -> None:
    """Measure every architecture at every batch size, each followed by its peers."""
    sizes = speed_sizes(bench)
    smallest = min(sizes.batches)
    with peer_steps.trainers(bench) as peers:
        for batch in sizes.batches:
            tokens = [
                make_tokens(batch, sizes.d, seed=i).to(bench.device)
                for i in range(DISTINCT_BATCHES)
            ]
            for variant in (*COMPARED, *(OTHERS if batch == smallest else ())):
                for precision in ("highest", "high"):
                    kernels = batch == smallest and precision == "highest"
                    try:
                        our_step(bench, variant, precision, tokens, list_kernels=kernels)
                    except RuntimeError as error:  # must not lose the other rows
                        name = f"step {batch}: ours {variant} {precision}"
                        bench.report.check(name, False, failure(error))
                if variant in COMPARED:
                    peer_steps.run(bench, peers, variant, tokens[0])


def our_step(
    bench: Bench, variant: str, precision: str, tokens: list[torch.Tensor], *, list_kernels: bool
) -> None:
    """Measure one step of ours, its memory and its rounds, and list its longest kernels."""
    sizes = speed_sizes(bench)
    bench.reset_peak()
    learner = make_learner(variant, sizes.d, sizes.n, sizes.k, bench.device)
    steps = rounds = 0
    offers = BatchTopKEncoder._offers

    def counted_offers(*arguments):
        nonlocal rounds
        rounds += 1
        return offers(*arguments)

    def step() -> None:
        nonlocal steps
        learner.step(BatchTargets(tokens[steps % len(tokens)]), measure=False)
        steps += 1

    counting = mock.patch.object(BatchTopKEncoder, "_offers", counted_offers)
    with matmul_precision(precision), torch.no_grad(), counting:
        took = bench.milliseconds(step, 15, 4)
    batch = len(tokens[0])
    bench.report.row(
        f"step {batch}",
        f"ours {variant} {precision}",
        ms=took,
        Mtokens_per_s=batch / took / 1e3,
        GB=bench.peak_gigabytes(),
        rounds=rounds / steps,
    )
    if list_kernels and not bench.pretend:
        bench.report.kernels[variant] = longest_kernels(bench, learner, tokens[0])


def longest_kernels(bench: Bench, learner: Learner, tokens: torch.Tensor) -> list[list]:
    """Return [name, milliseconds, calls] of the operations that take longest in one step."""
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if bench.cuda else [])
    with profile(activities=activities) as profiler, torch.no_grad():
        learner.step(BatchTargets(tokens), measure=False)
        bench.wait()
    key = "self_device_time_total" if bench.cuda else "self_cpu_time_total"  # microseconds
    found = sorted(profiler.key_averages(), key=lambda event: -getattr(event, key))
    return [[e.key[:90], round(getattr(e, key) / 1e3, 3), e.count] for e in found[:KERNELS]]
