"""A sweep in one pass over a store against one run per SAE: time, bytes read, identical weights.

    python benchmarks/sweep.py --write

Every run is a process of its own, as a job of the workflow is: starting Python, reading the store,
shuffling, training, writing the SAEs. In each round the sweep runs in one process and then SAE by
SAE, and a process that only reads the same batches shows what reading costs.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from training_report import machine, spread
from training_settings import D_MODEL, make_tokens

from clip_sae.planning.recipes import SaeRecipe
from clip_sae.planning.specs import write_text
from clip_sae.sae.files import weights_sha256
from clip_sae.store import ActivationStore, StoreLayout, StoreWriter, TokenStream
from clip_sae.training import TrainTarget, train_saes

HERE = Path(__file__).resolve().parent
RESULTS = "## Last result\n"
N_PATCHES = 49
# The sweeps of the paper: four l1 values (Table 3), three k.
L1 = {"architecture": "vanilla", "l1_coefficient": [0.1, 0.3, 1.0, 3.0]}
K = {"architecture": "topk", "k": [64, 128, 256]}
SWEEPS = {
    "l1-x8": {**L1, "expansion_factor": 8},
    "k-x8": {**K, "expansion_factor": 8},
    "k-x64": {**K, "expansion_factor": 64},
}
READ_ONLY = "reading alone"


def main() -> None:
    options = parse()
    if options.job:
        return run_job(options)
    texts = []
    with tempfile.TemporaryDirectory() as folder:
        make_store(Path(folder, "store"), options.images)
        for name in options.only or SWEEPS:
            options.sweep = name
            run(options, Path(folder), Path(folder, "none"), [])  # warms the file cache
            rounds = [measure(options, Path(folder)) for _ in range(options.rounds)]
            texts.append(report(rounds, options))
            print(texts[-1], flush=True)
    texts.insert(0, conditions(options))
    print(texts[0])
    if options.write:
        path = HERE / "sweep.md"
        above, _, _ = path.read_text().partition(RESULTS)
        write_text(path, f"{above}{RESULTS}\n" + "\n".join(texts))


def recipes(options: argparse.Namespace) -> dict[str, SaeRecipe]:
    """Return the sweep's SAEs by variant."""
    # A geometric median, found once in the one pass, would flatter it: on so small a store it takes
    # as long as many steps, on a whole one it is nothing.
    section = {**SWEEPS[options.sweep], "batch_tokens": options.batch, "b_dec_init": "mean"}
    return dict(SaeRecipe.from_config(options.sweep, section))


def make_store(path: Path, n_images: int) -> None:
    """Write a float16 store of synthetic tokens, CLS and 49 patches an image."""
    layout = StoreLayout(n_images, N_PATCHES, D_MODEL)
    index = np.arange(n_images)
    writer = StoreWriter(path, layout, spec={"made": "synthetic"}, source_index=index)
    for k in range(layout.n_ranges):
        first, stop = layout.range_bounds(k)
        x = make_tokens(stop - first, 1 + N_PATCHES, seed=k).reshape(1 + N_PATCHES, -1, D_MODEL)
        with writer.range(k) as out:
            out.put(x[0], x[1:].swapaxes(0, 1))
    writer.complete()


def measure(options: argparse.Namespace, folder: Path) -> dict[str, list[float]]:
    """One round: [seconds of all processes, seconds of training in them] of each way."""
    every = list(recipes(options))
    one, separate = folder / "one", folder / "separate"
    found = {"one pass": run(options, folder, one, every)}
    alone = [run(options, folder, separate, [variant]) for variant in every]
    found["separate runs"] = [sum(column) for column in zip(*alone, strict=True)]
    found[READ_ONLY] = run(options, folder, folder / "none", [])
    for variant in every:
        if weights_sha256(one / variant) != weights_sha256(separate / variant):
            raise SystemExit(f"{variant}: trained in company, its weights differ from those alone.")
    shutil.rmtree(one)
    shutil.rmtree(separate)
    return found


def run(options: argparse.Namespace, folder: Path, out: Path, variants: list[str]) -> list[float]:
    """Train `variants` in one pass in a process; returns its seconds and those of training."""
    words = [sys.executable, __file__, "--job", folder / "store", "--out", out]
    for key in ("sweep", "batch", "threads", "device"):
        words += [f"--{key}", getattr(options, key)]
    start = time.perf_counter()
    ended = subprocess.run(
        [str(word) for word in [*words, "--variants", *variants]],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return [time.perf_counter() - start, json.loads(ended.stdout.splitlines()[-1])]


def run_job(options: argparse.Namespace) -> None:
    """Run one process: train the variants, or only read the batches where it has none."""
    known = recipes(options)
    targets = [
        TrainTarget(variant, known[variant], options.out / variant) for variant in options.variants
    ]
    start = time.perf_counter()
    stream = TokenStream(ActivationStore(options.job), batch_tokens=options.batch, seed=0)
    if targets:
        train_saes(
            targets,
            stream,
            d_model=D_MODEL,
            device=options.device,
            threads=options.threads,
            progress=False,
            log=lambda line: None,
        )
    else:
        for _ in stream.epoch(0):
            pass
    print(json.dumps(time.perf_counter() - start))


def conditions(options: argparse.Namespace) -> str:
    n_tokens = options.images * (1 + N_PATCHES)
    return (
        f"{machine(options)}, torch {torch.__version__}. {n_tokens:,} tokens of width {D_MODEL} "
        f"({n_tokens * D_MODEL * 2 / 1e6:,.0f} MB), batch {options.batch:,}; "
        f"{options.rounds} rounds, median (min-max), ratios within rounds. The weights of both "
        f"ways were the same to the bit.\n"
    )


def report(rounds: list[dict], options: argparse.Namespace) -> str:
    """Return the Markdown: seconds of each way, and separate runs over one pass."""
    known = recipes(options)
    width = next(iter(known.values())).d_sae(D_MODEL)
    lines = [
        f"### {options.sweep}: {len(known)} SAEs of {width:,} latents\n",
        "| | processes, s | training in them, s |",
        "|---|--:|--:|",
    ]
    for name in rounds[0]:
        columns = zip(*(r[name] for r in rounds), strict=True)
        lines.append(f"| {name} | {' | '.join(spread(list(c), 1) for c in columns)} |")
    ratios = [spread([r["separate runs"][i] / r["one pass"][i] for r in rounds], 2) for i in (0, 1)]
    share = spread([100 * r[READ_ONLY][1] / r["one pass"][1] for r in rounds], 1)
    lines += [
        f"| **separate / one pass** | {' | '.join(ratios)} |",
        "",
        f"Reading and shuffling alone takes {share} % of the time of the one pass; it runs in a "
        f"thread next to training. One pass reads it once, separate runs {len(known)} times.",
    ]
    return "\n".join(lines) + "\n"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", choices=SWEEPS, help="default: all")
    parser.add_argument("--images", type=int, default=400, help="50 tokens each")
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--write", action="store_true", help="put the results into sweep.md")
    # How this script calls itself for one process.
    parser.add_argument("--sweep", choices=SWEEPS, help=argparse.SUPPRESS)
    parser.add_argument("--job", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--variants", nargs="*", default=[], help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
