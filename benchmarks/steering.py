"""Steering from the cached residual against re-running the tower, and the closed form.

    python benchmarks/steering.py --write

ViT-B/32 with random weights: speed does not depend on them. A pair is one latent steered on one
image. Ways are measured in turn within each round, so that a machine whose speed drifts favours
none. The answers are compared first, so that no way is fast because it is wrong.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F
from training_report import machine, spread

from clip_sae.analyses.steering.layer_summary import LayerSummary, Thresholds, resample_weights
from clip_sae.analyses.steering.routes import Routes
from clip_sae.analyses.steering.unit_measures import Words, measure
from clip_sae.clip.model import load_clip
from clip_sae.planning.architecture import ModelSource
from clip_sae.planning.specs import write_text

HERE = Path(__file__).resolve().parent
RESULTS = "## Last result\n"
LAST, WORDS, STRENGTH = 11, 5_000, 150.0
FULL_UNITS, FULL_IMAGES = 49_152, 192
TOWER, MATMUL = "whole tower again", "matrix product of an MLP, TFLOP/s"
# Multiplications and additions of one ViT-B/32 block on 50 tokens; the last one, for CLS alone, has
# keys and values of all tokens and everything else of one.
BLOCK_FLOP = 50 * 24 * 768**2 + 4 * 50**2 * 768
CLS_BLOCK_FLOP = 50 * 4 * 768**2 + 20 * 768**2


class Bench:
    """Model, images, residuals, directions and words that all ways share."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        source = ModelSource("ViT-B-32", "random:0")
        self.model = load_clip(source, device=options.device, precision=options.precision)
        generator = torch.Generator().manual_seed(0)
        device = self.model.device
        pixels = torch.randn(options.images, 3, 224, 224, generator=generator)
        self.pixels = pixels.to(device)
        found = self.model.run_to(self.pixels, [*options.layers, LAST])
        self.x = {layer: x for (_, layer), x in found.items()}
        text = torch.randn(WORDS, 512, generator=generator) + 0.5
        self.text = F.normalize(text, dim=-1).to(device)
        directions = torch.randn(options.closed_units, 768, generator=generator)
        self.directions = F.normalize(directions, dim=-1).to(device)
        # CLS of many images at the last layer: the images again with a little noise.
        many = self.x[LAST].repeat(-(-FULL_IMAGES // options.images), 1, 1)[:FULL_IMAGES]
        self.many = many + 0.01 * torch.randn(many.shape, generator=generator).to(device)
        batch = options.sequences
        self.general = {layer: self.routes(x, layer, batch) for layer, x in self.x.items()}
        self.general[LAST] = self.routes(self.x[LAST], LAST, batch, closed_form=False)
        self.closed = self.routes(self.many, LAST, batch)
        self.measured = self.closed.steer(self.directions, self.pushes(self.many))
        weights = resample_weights(FULL_IMAGES, 2000, seed=0)
        self.weights = torch.from_numpy(weights).float().to(device)
        self.words = Words.of(self.text)
        self.matrices = [
            torch.randn(*shape, generator=generator).to(device)
            for shape in ((50 * 64, 768), (768, 3072))
        ]

    def routes(self, x, layer, sequences, closed_form=True) -> Routes:
        return Routes(
            self.model, layer, x, self.text, 100.0,
            sequences_per_batch=sequences, closed_form=closed_form,
        )  # fmt: skip

    def pushes(self, x, n_units: int | None = None):
        """Pushes of a strength of 150 in units of each token's spread [image, token, unit]."""
        n = len(self.directions) if n_units is None else n_units
        return (STRENGTH * x.std(-1, keepdim=True)).expand(*x.shape[:2], n)

    def ways(self) -> dict[str, tuple[Callable[[], object], int]]:
        """Return {name: (function to time, number of pairs)}."""
        n_images, n_units = self.options.images, self.options.units
        ways = {TOWER: (self.whole_tower, n_images)}
        for layer, routes in self.general.items():
            ways[general(layer)] = (
                lambda r=routes, x=self.x[layer]: r.steer(
                    self.directions[:n_units], self.pushes(x, n_units)
                ),
                n_images * n_units,
            )
        pairs = FULL_IMAGES * len(self.directions)
        pushes = self.pushes(self.many)
        ways["closed form"] = (lambda: self.closed.steer(self.directions, pushes), pairs)
        ways["measures, bootstrap"] = (self.summarise, pairs)
        return ways

    def whole_tower(self):
        embedding = F.normalize(self.model.module.encode_image(self.pixels), dim=-1)
        return self.closed.read(embedding)

    def summarise(self):
        summary = LayerSummary(self.weights, WORDS, Thresholds(0.1, (0.05, 0.25, 0.5, 0.9)))
        measures = measure(self.measured.probabilities, self.closed.clean, self.words)
        summary.add(measures, np.ones(len(self.directions), bool), self.measured.limit_cosine)

    def check(self) -> float:
        """Return the largest difference of closed form and general route in any probability."""
        few = min(4, len(self.directions))
        directions, pushes = self.directions[:few], self.pushes(self.x[LAST], few)
        closed = self.routes(self.x[LAST], LAST, self.options.sequences)
        one = closed.steer(directions, pushes).probabilities
        other = self.general[LAST].steer(directions, pushes).probabilities
        return float((one - other).abs().max())

    def seconds(self, work: Callable[[], object]) -> float:
        if self.model.device.type == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        if self.model.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start


def general(layer: int) -> str:
    return f"general route, layer {layer}"


@torch.inference_mode()
def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    bench = Bench(options)
    difference = bench.check()
    if difference > 1e-3:
        raise SystemExit(f"closed form and general route differ by {difference:.2g}: not measured.")
    ways = bench.ways()
    times = {name: [] for name in [*ways, MATMUL]}
    a, b = bench.matrices
    product_flop = 2 * a.numel() * b.shape[1]
    for number in range(options.rounds + 1):
        for name, (work, pairs) in ways.items():
            seconds = bench.seconds(work) / pairs
            if number:  # the first round warms up
                times[name].append(seconds)
        seconds = bench.seconds(lambda: [a @ b for _ in range(8)])
        if number:
            times[MATMUL].append(8 * product_flop / seconds / 1e12)
    text = report(times, difference, options)
    print(text)
    if options.write:
        path = HERE / "steering.md"
        above, _, _ = path.read_text().partition(RESULTS)
        write_text(path, f"{above}{RESULTS}\n{text}")


def report(times: dict[str, list[float]], difference: float, options: argparse.Namespace) -> str:
    """Return the Markdown: each way per pair, and the time of the full runs at this pace."""
    tower = times[TOWER]
    lines = [
        f"{machine(options)}, torch {torch.__version__}. ViT-B/32, random weights, "
        f"{options.precision}, {WORDS:,} words; {options.images} images x {options.units} units "
        f"through the blocks, {FULL_IMAGES} x {options.closed_units} in closed form; "
        f"{options.rounds} rounds, median (min-max), ratios within rounds. Closed form and general "
        f"route differ by {difference:.1e} at most in any probability.\n",
        "| | ms per pair | whole tower / this |",
        "|---|--:|--:|",
    ]
    for name, found in times.items():
        if name != MATMUL:
            ratios = [t / f for t, f in zip(tower, found, strict=True)]
            milli = [1000 * f for f in found]
            digits = 4 if max(milli) < 1 else 2
            lines.append(f"| {name} | {spread(milli, digits)} | {spread(ratios, 1)} |")
    first = min(options.layers)
    flop = [block_flop(first) / f / 1e12 for f in times[general(first)]]
    share = [100 * f / m for f, m in zip(flop, times[MATMUL], strict=True)]
    ratio = [g / c for g, c in zip(times[general(LAST)], times["closed form"], strict=True)]
    return "\n".join([*lines, "", *conclusions(times, flop, share, ratio, options)]) + "\n"


def conclusions(times, flop, share, ratio, options) -> list[str]:
    """Return sentences on the ratios, and the time of the full runs on this machine."""
    first = min(options.layers)
    gpu = " Not measured here: any GPU." if options.device == "cpu" else ""
    middle = {name: float(np.median(found)) for name, found in times.items()}
    pairs = FULL_UNITS * FULL_IMAGES
    own = middle["measures, bootstrap"]
    last = pairs * (middle["closed form"] + own)
    # Times of the other layers lie on a straight line through the measured ones.
    layers = [layer for layer in range(LAST) if general(layer) in middle]
    per_layer = np.polyfit(layers, [middle[general(layer)] for layer in layers], 1)
    sweep = last + pairs * sum(np.polyval(per_layer, layer) + own for layer in range(LAST))
    theirs = 12 * pairs * middle[TOWER]
    total = pairs * sum(map(block_flop, range(LAST)))
    return [
        f"- The general route from layer {first} runs at {spread(flop, 2)} TFLOP/s, "
        f"{spread(share, 0)} % of a matrix product of an MLP's size on the same threads.",
        f"- At the last layer the closed form is {spread(ratio, 1)} times as fast as the general "
        f"route, which there is norm, projection and {WORDS:,} words per pair.",
        f"- At this pace, all {FULL_UNITS:,} latents x {FULL_IMAGES} images x {WORDS:,} words at "
        f"the last layer: {last / 60:,.0f} min, measures and bootstrap among them.",
        f"- The sweep of one strength over twelve layers: {sweep / 3600:,.0f} h; re-running the "
        f"tower: {theirs / 3600:,.0f} h, without the SAE that the authors run on every pair. "
        f"(A straight line through the layers measured.)",
        f"- The blocks of that sweep are {total:.1e} FLOP by hand: in one hour that takes "
        f"{total / 3600 / 1e12:,.0f} TFLOP/s.{gpu}",
    ]


def block_flop(layer: int) -> float:
    """Return the operations of the blocks after `layer` for one pair; the last has CLS alone."""
    return (LAST - layer - 1) * BLOCK_FLOP + CLS_BLOCK_FLOP if layer < LAST else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, nargs="+", default=[0, 5, 10])
    parser.add_argument("--images", type=int, default=16, help="through the blocks")
    parser.add_argument("--units", type=int, default=4, help="through the blocks")
    parser.add_argument("--closed-units", type=int, default=16, help="in closed form")
    parser.add_argument("--sequences", type=int, default=64, help="pairs in one forward pass")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--precision", default="float32", help="of the blocks; auto on a GPU")
    parser.add_argument("--write", action="store_true", help="put the results into steering.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
