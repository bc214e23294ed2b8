"""Extracting a store and training from it against training straight from the images.

    python benchmarks/streaming.py --write

Each case is a config with a number of layers, recipes and epochs. The stored route
extracts all layers in one forward pass per image, as the workflow does, and trains each recipe from
its store; the streamed route runs the images once per recipe, layer and epoch. Both train with one
thread; a streamed training runs CLIP in a second one meanwhile.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from training_report import machine, spread

from clip_sae.clip.model import load_clip
from clip_sae.extraction.extract import ExtractJob, extract
from clip_sae.extraction.live_source import LiveSource
from clip_sae.extraction.live_tokens import LiveStream
from clip_sae.planning.architecture import ModelSource
from clip_sae.planning.recipes import SaeRecipe
from clip_sae.planning.specs import write_text
from clip_sae.sae.files import weights_sha256
from clip_sae.store import ActivationStore, TokenStream
from clip_sae.training import TrainTarget, train_saes
from clip_sae_demo.sets import write_set

HERE = Path(__file__).resolve().parent
DEMO_CLIP = HERE.parent / "workflow/resources/demo_clip"
RESULTS = "## Last result\n"
BATCH = 1024


@dataclass(frozen=True)
class Case:
    """Layers, recipes on each of them, epochs, d_sae / d_model; fits: all tokens in memory."""

    layers: tuple[int, ...]
    recipes: int = 1
    epochs: int = 1
    expansion: int = 8
    fits: bool = False

    @property
    def label(self) -> str:
        layers = ", ".join(map(str, self.layers))
        what = [f"layer{'s' if len(self.layers) > 1 else ''} {layers}"]
        what += [f"{self.recipes} recipes"] if self.recipes > 1 else []
        if self.epochs > 1:
            what.append(f"{self.epochs} epochs{', all in memory' if self.fits else ''}")
        what += [f"{self.expansion} x d_model latents"] if self.expansion != 8 else []
        return "; ".join(what)


@dataclass(frozen=True)
class Setting:
    """A CLIP, its images, and the cases measured on it."""

    model: ModelSource
    n_images: int
    cases: tuple[Case, ...]


SETTINGS = {
    "demo": Setting(
        ModelSource(f"local-dir:{DEMO_CLIP}", None),
        800,
        (
            Case((3,)),
            Case((1, 3, 5)),
            Case((3,), recipes=3),
            Case((3,), epochs=3),
            Case((3,), epochs=3, fits=True),
            Case((3,), expansion=64),
        ),
    ),
    "ViT-B-32": Setting(ModelSource("ViT-B-32", "random:0"), 64, (Case((10,)), Case((2, 6, 10)))),
}


@dataclass(frozen=True)
class Spent:
    """Wall-clock seconds, and processor seconds of all threads."""

    wall: float
    cpu: float

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(self.wall + other.wall, self.cpu + other.cpu)


def main() -> None:
    options = parse()
    texts = [conditions(options)]
    for name in options.only or SETTINGS:
        with tempfile.TemporaryDirectory() as folder:
            texts.append(run(name, SETTINGS[name], Path(folder), options))
        print(texts[-1], flush=True)
    print(texts[0])
    if options.write:
        path = HERE / "streaming.md"
        above, _, _ = path.read_text().partition(RESULTS)
        write_text(path, f"{above}{RESULTS}\n" + "\n".join(texts))


def run(name: str, setting: Setting, folder: Path, options: argparse.Namespace) -> str:
    """Measure all cases of a setting, in turn within each round; return the Markdown."""
    torch.set_num_threads(2)
    model = load_clip(setting.model, device="cpu")
    paths = draw(name, folder / "images", setting.n_images, model.architecture.image_size)
    lines = [
        f"### {name}: {setting.n_images} images, {1 + model.architecture.n_patches} tokens of "
        f"width {model.architecture.d_model} each\n",
        "| | store, MB | extraction, s | training from it, s | both, s (processor s) | "
        "streamed, s (processor s) | streamed / stored | processor s, streamed / stored |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    rounds = []
    with torch.inference_mode():  # the first pass of a process is slower
        size = model.architecture.image_size
        model.embed_images(model.normalise(torch.zeros(64, size, size, 3, dtype=torch.uint8)))
    for _ in range(options.rounds):
        found = []
        for case in setting.cases:
            found.append(measure(model, folder, paths, case))
            shutil.rmtree(folder / "work")
        rounds.append(found)
    for i, case in enumerate(setting.cases):
        lines.append(row(case, [found[i] for found in rounds]))
    equal, of = (sum(one[key] for found in rounds for one in found) for key in ("equal", "saes"))
    lines.append(f"\n{equal} of {of} streamed SAEs have the weights of the stored one to the bit.")
    return "\n".join(lines) + "\n"


def draw(name: str, root: Path, n: int, size: int) -> list[str]:
    """Write `n` images, and return their paths below `root`: the demo's, or blurred noise."""
    if name == "demo":
        write_set("general", root, seed=0, n_train=n, n_val=0, n_test=0)
    else:
        root.mkdir()
        rng = np.random.default_rng(0)
        for i in range(n):
            pixels = rng.integers(0, 256, (size // 4, size // 3, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((2 * size, size)).save(root / f"{i:05d}.jpg")
    found = [p for p in root.rglob("*") if p.suffix in (".jpg", ".png", ".webp")]
    return sorted(str(p.relative_to(root)) for p in found)[:n]


def measure(model, folder: Path, paths: list[str], case: Case) -> dict:
    """Run one round of a case; return the seconds of each part and the equal SAEs."""
    work = folder / "work"
    job = ExtractJob(
        pd.DataFrame({"path": paths, "status": "ok"}),
        folder / "images",
        {("resid_post", layer): work / f"L{layer}" for layer in case.layers},
        {("resid_post", layer): {"layer": layer} for layer in case.layers},
        model.architecture,
        chunk_mb=0.5,
    )
    torch.set_num_threads(2)
    extraction = timed(
        lambda: extract(model, job, batch_size=256, decode_workers=2, progress=False)
    )
    torch.set_num_threads(1)
    nbytes = sum(f.stat().st_size for path in job.stores.values() for f in path.rglob("*"))
    buffer_images = 0 if case.fits else max(64, len(paths) // 4)
    stored = streamed = Spent(0.0, 0.0)
    equal = 0
    for layer in case.layers:
        for seed in range(case.recipes):
            options = {"batch_tokens": BATCH, "seed": seed, "buffer_images": buffer_images}
            key = ("resid_post", layer)
            store, live = work / f"stored-{layer}-{seed}", work / f"streamed-{layer}-{seed}"

            def from_store(path=job.stores[key], out=store, options=options):
                train(TokenStream(ActivationStore(path), **options), case, out)

            def from_images(key=key, out=live, options=options):
                train(LiveStream(LiveSource(model, job, key), **options), case, out)

            stored += timed(from_store)
            streamed += timed(from_images)
            equal += weights_sha256(store) == weights_sha256(live)
    return {
        "MB": nbytes / 1e6,
        "extraction": extraction,
        "stored": stored,
        "streamed": streamed,
        "equal": equal,
        "saes": len(case.layers) * case.recipes,
    }


def train(stream: TokenStream, case: Case, out: Path) -> None:
    block = {
        "architecture": "topk",
        "k": 16,
        "expansion_factor": case.expansion,
        "batch_tokens": BATCH,
        "epochs": case.epochs,
        "b_dec_init": "mean",
        "init_tokens": 8 * BATCH,
    }
    [(variant, recipe)] = SaeRecipe.from_config("bench", block)
    target = TrainTarget(variant, recipe, out)
    quiet = {"device": "cpu", "threads": 1, "progress": False, "log": lambda line: None}
    train_saes([target], stream, d_model=stream.d_model, **quiet)


def timed(action: Callable[[], object]) -> Spent:
    wall, cpu = time.perf_counter(), time.process_time()
    action()
    return Spent(time.perf_counter() - wall, time.process_time() - cpu)


def row(case: Case, rounds: list[dict]) -> str:
    both = [r["extraction"] + r["stored"] for r in rounds]
    streamed = [r["streamed"] for r in rounds]

    def cell(values: list[Spent]) -> str:
        return f"{spread([v.wall for v in values], 1)} ({np.median([v.cpu for v in values]):.1f})"

    pairs = [*zip(streamed, both, strict=True)]
    cells = [
        case.label,
        f"{rounds[0]['MB']:.0f}",
        spread([r["extraction"].wall for r in rounds], 1),
        spread([r["stored"].wall for r in rounds], 1),
        cell(both),
        cell(streamed),
        spread([a.wall / b.wall for a, b in pairs], 2),
        spread([a.cpu / b.cpu for a, b in pairs], 2),
    ]
    return f"| {' | '.join(cells)} |"


def conditions(options: argparse.Namespace) -> str:
    return (
        f"{machine(options)}, torch {torch.__version__}; TopK SAEs (k = 16), float16, batch "
        f"{BATCH:,}; windows of a quarter of the images where not all are in memory; "
        f"{options.rounds} rounds, median (min-max), ratios within rounds.\n"
    )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", choices=SETTINGS, help="default: all")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="put the results into streaming.md")
    parser.set_defaults(device="cpu", threads=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
