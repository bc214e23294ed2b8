"""Training on the device equals training on the CPU, and a second run equals the first to the bit.

Every variant takes the same few steps three times: on the CPU and twice on the device.
"""

from dataclasses import dataclass

import torch
from measuring import Bench, relative_error
from sae_subjects import VARIANTS, make_learner, make_tokens
from time_limits import failure

from clip_sae.training.learner import Learner
from clip_sae.training.targets import BatchTargets

REVIVING = {"topk+aux": 0.0, "vanilla ghost": -1.0}  # and the bias of the latents that are silent


@dataclass(frozen=True)
class Trained:
    """Encoder and decoder rows [latent, d] on the CPU after the last step; each step's figures."""

    encoder: torch.Tensor
    decoder: torch.Tensor
    steps: list[dict[str, float]]


def run(bench: Bench) -> None:
    """Check every variant; one that raises does not stop the others."""
    for variant in VARIANTS:
        try:
            check_variant(bench, variant)
        except Exception as error:
            bench.report.check(f"{variant}: training", False, failure(error))


def check_variant(bench: Bench, variant: str) -> None:
    """Compare losses and weights with the CPU's, and the two runs on the device."""
    expected = train(bench, variant, "cpu")
    found, again = (train(bench, variant, bench.device) for _ in range(2))
    losses = zip(found.steps, expected.steps, strict=True)
    worst = max(abs(a["loss"] - b["loss"]) / abs(b["loss"]) for a, b in losses)
    error = relative_error(found.encoder, expected.encoder)
    last = found.steps[-1]
    bench.report.check(
        f"{variant}: losses and weights after {len(found.steps)} steps",
        worst < 1e-3 and error < 2e-2,
        f"loss {worst:.1e}, W_enc {error:.1e}, {last['dead_latents']} dead latents",
    )
    if variant in REVIVING:
        aux = [step["aux_loss"] for step in found.steps]
        bench.report.check(f"{variant}: the term for dead latents was at work", max(aux) > 0)
    same = torch.equal(found.encoder, again.encoder) and torch.equal(found.decoder, again.decoder)
    difference = relative_error(found.encoder, again.encoder)
    bench.report.check(
        f"{variant}: two runs on the device are the same bits",
        same,
        "" if same else f"W_enc differs by {difference:.1e}; a resumed run promises the same bits",
    )


def train(bench: Bench, variant: str, device) -> Trained:
    """Take the steps on one device."""
    d, n, k, batch, steps = (64, 512, 16, 128, 4) if bench.tiny else (256, 8192, 32, 512, 12)
    learner = make_learner(variant, d, n, k, device, dead_window_tokens=batch)
    if variant in REVIVING:
        silence(learner, REVIVING[variant])
    rows = []
    with torch.no_grad():
        for i in range(steps):
            tokens = make_tokens(batch, d, seed=i).to(device)
            rows.append(learner.step(BatchTargets(tokens), measure=True))
    return Trained(learner.weights.W_enc_rows.cpu(), learner.weights.W_dec.cpu(), rows)


def silence(learner: Learner, bias: float) -> None:
    """Make an eighth of the latents too weak to fire, so that they are dead after two steps."""
    silent = slice(0, len(learner.weights.b_enc) // 8)
    learner.weights.W_enc_rows[silent] *= 0.01
    learner.weights.b_enc[silent] = bias
