"""The whole grid of thresholds and layers against one full forward pass per threshold.

    python benchmarks/suppression.py --write

Three ways to the same answers, on random images: a forward pass from the pixels per threshold, with
the ablation at the layer on the way; one run per threshold from the cached residual; and what the
workflow does: a batch is encoded once, nested sets share their sums, each distinct set runs once.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F
from training_report import machine, spread

from clip_sae.analyses.shared.edits import EncodedTokens, moved, reaches_output
from clip_sae.analyses.shared.groups import Groups
from clip_sae.analyses.shared.store_images import StoreImages
from clip_sae.analyses.shared.unit_sets import Family, threshold_family, threshold_grid
from clip_sae.analyses.shared.units import Latents
from clip_sae.analyses.suppression.set_answers import Answers
from clip_sae.clip.model import ClipModel, load_clip
from clip_sae.planning.architecture import ModelSource
from clip_sae.planning.specs import write_text
from clip_sae.sae import Sae

HERE = Path(__file__).resolve().parent
RESULTS = "## Last result\n"
DEMO = f"local-dir:{HERE.parent / 'workflow/resources/demo_clip'}"
PIXELS, RESIDUAL, GRID = "from the pixels", "from the residual", "the grid at once"


class Memory:
    """A store of one layer's residuals in memory."""

    def __init__(self, x: torch.Tensor) -> None:
        self.path, self._x = Path("memory"), x.numpy()
        self.source_index = np.arange(len(x))

    def read(self, start: int, stop: int, tokens: str) -> np.ndarray:
        return self._x[start:stop, : 1 if tokens == "cls" else None]


class Layer:
    """One layer: its residuals, an SAE with random rows, and nested sets of its latents."""

    def __init__(self, model: ClipModel, layer: int, x: torch.Tensor, options) -> None:
        self.model, self.layer, self.x = model, layer, x
        d_model, rng = x.shape[-1], np.random.default_rng(layer)
        generator = torch.Generator().manual_seed(layer)
        self.sae = Sae(
            d_model, options.expansion * d_model, "topk", k=options.k, input_norm="layer_norm"
        )
        self.sae.W_dec.copy_(F.normalize(torch.randn(self.sae.W_dec.shape, generator=generator)))
        self.sae.W_enc.copy_(self.sae.W_dec.T)
        # Gaps spread over the whole grid, so that no two thresholds give the same set.
        gap = 10 ** rng.uniform(-6, 0, self.sae.d_sae)
        self.family: Family = threshold_family(gap, threshold_grid(1e-6, 1.0, options.taus), "a")
        self.text = F.normalize(torch.randn(2, options.d_embed, generator=generator), dim=-1)
        self.groups = Groups(np.arange(len(x)) % 2, np.arange(len(x)) // 2 % 2)

    def right(self, embedding: torch.Tensor) -> np.ndarray:
        predicted = (F.normalize(embedding.float(), dim=-1) @ self.text.T).argmax(-1)
        return predicted.numpy() == self.groups.label

    def grid(self, batch: int) -> list[np.ndarray]:
        tokens = reaches_output(self.model, self.layer)
        images = StoreImages(Memory(self.x), tokens=tokens, batch_images=batch)
        answers = Answers(self.model, self.layer, self.text, images, self.groups, Latents(self.sae))
        answers.run([self.family])
        return [answers.of(self.family.units(i)) for i in range(len(self.family))]

    def one_by_one(self, pixels: torch.Tensor | None, batch: int) -> list[np.ndarray]:
        """A run per set, from the cached residual or, with `pixels`, through the whole tower."""
        found = []
        for i in range(len(self.family)):
            parts = []
            for start in range(0, len(self.x), batch):
                which = slice(start, start + batch)
                x = self.x[which]
                if pixels is not None:
                    x = self.model.run_to(pixels[which], [self.layer])["resid_post", self.layer]
                tokens, units = EncodedTokens(self.sae, x), torch.from_numpy(self.family.units(i))
                ablated = moved(x, tokens.scale, tokens.move(units))
                parts.append(self.model.run_from(ablated, self.layer))
            found.append(self.right(torch.cat(parts)))
        return found


@torch.inference_mode()
def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    texts = [run(options, *setting) for setting in settings(options)]
    texts.insert(0, f"{machine(options)}, torch {torch.__version__}; {options.rounds} rounds.\n")
    print("\n".join(texts))
    if options.write:
        path = HERE / "suppression.md"
        above, _, _ = path.read_text().partition(RESULTS)
        write_text(path, f"{above}{RESULTS}\n" + "\n".join(texts))


def settings(options: argparse.Namespace) -> list[tuple]:
    """(title, model, layers, images, thresholds, expansion, k) of the requested cases."""
    cases = {
        "demo": ("The demo's CLIP, whole", ModelSource(DEMO), range(6), 32, 25, 8, 16),
        "vit-b-32": (
            "ViT-B/32, random weights, a slice",
            ModelSource("ViT-B-32", "random:0"),
            (0, 6, 11),
            4,
            5,
            64,
            64,
        ),
    }
    return [cases[name] for name in options.only or cases]


def run(options, title, source, layers, n_images, taus, expansion, k) -> str:
    """Measure one case and return its Markdown."""
    model = load_clip(source, device="cpu")
    size, layers = model.architecture.image_size, list(layers)
    rng = np.random.default_rng(0)
    pixels = model.normalise(rng.integers(0, 256, (n_images, size, size, 3), dtype=np.uint8))
    found = model.run_to(pixels, layers)
    options.taus, options.expansion, options.k = taus, expansion, k
    options.d_embed = model.architecture.d_embed
    measured = [Layer(model, la, found["resid_post", la].clone(), options) for la in layers]
    ways = {
        PIXELS: lambda layer: layer.one_by_one(pixels, options.batch),
        RESIDUAL: lambda layer: layer.one_by_one(None, options.batch),
        GRID: lambda layer: layer.grid(options.batch),
    }
    seconds, different = [], 0
    for _ in range(options.rounds):
        times, answers = {}, {}
        for name, way in ways.items():
            start = time.perf_counter()
            answers[name] = np.stack([row for layer in measured for row in way(layer)])
            times[name] = time.perf_counter() - start
        seconds.append(times)
        different = max(different, int((answers[PIXELS] != answers[GRID]).sum()))
    n_sets = sum(len(layer.family) for layer in measured)
    lines = [
        f"### {title}: {len(layers)} of {model.architecture.n_layers} layers, {taus} thresholds\n",
        f"{n_sets} distinct sets, {n_images} images, {measured[0].sae.d_sae:,} latents. Answers "
        f"that differ between the ways: {different} of {n_sets * n_images:,}.\n",
        "| | s | over the grid |",
        "|---|--:|--:|",
    ]
    for name in ways:
        ratio = [times[name] / times[GRID] for times in seconds]
        lines.append(f"| {name} | {spread([t[name] for t in seconds], 2)} | {spread(ratio, 1)} |")
    return "\n".join(lines) + "\n"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", choices=("demo", "vit-b-32"), help="default: both")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", choices=["cpu"])
    parser.add_argument("--write", action="store_true", help="put the results into suppression.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
