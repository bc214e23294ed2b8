"""Train the demo CLIP from nothing on two CPU cores: `python -m clip_sae_demo.pretrain --help`.

About an hour on two cores. Called again with the same arguments, a killed run goes on from
its last checkpoint; each step draws its batch from its own seed, so the result is the same.
"""

import argparse
import json
import logging
import math
import os
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from clip_sae.clip.tokenizer import WordTokenizer
from clip_sae_demo.captions import draw_captions, draw_contrasts, said_objects
from clip_sae_demo.losses import (
    TextBatch,
    caption_loss,
    contrast_loss,
    encode_texts,
    jitter_images,
)
from clip_sae_demo.model import (
    build_model,
    demo_vocabulary,
    save_model,
    save_vocabulary,
    to_pixels,
)
from clip_sae_demo.pool import draw_pool
from clip_sae_demo.score import draw_held_out, score_sets
from clip_sae_demo.world import scene_rng

log = logging.getLogger(__name__)

WARM_UP = 300  # steps
WEIGHT_DECAY = 0.05  # of matrices; vectors have none

CHECKPOINT_NAME = "checkpoint.pt"
FACTS_NAME = "training.json"  # next to the weights: facts of the training for the card


@dataclass(frozen=True)
class Recipe:
    """The values that decide the trained weights."""

    seed: int
    steps: int
    batch_size: int
    learning_rate: float  # the peak
    n_images: int  # size of the pool


def pretrain(
    out_dir: Path,
    *,
    seed: int = 0,
    steps: int = 10_000,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    n_images: int = 200_000,
    threads: int = 2,
    checkpoint_every: int = 500,
    n_held_out: int = 480,
    keep_training: bool = False,
) -> dict[str, float]:
    """Train, write the model folder to `out_dir`, return its scores on held-out scenes.

    Until the end, `out_dir/training` holds the pool, the checkpoint and intermediate weights. The
    recorded time is that of the training loop, over all resumptions.
    """
    recipe = Recipe(seed, steps, batch_size, learning_rate, n_images)
    torch.set_num_threads(threads)
    work = out_dir / "training"
    vocabulary = demo_vocabulary()
    images, fields = draw_pool(work, seed=seed, n_images=n_images, workers=threads)
    log.info("pool of %d images drawn", n_images)
    held_out = draw_held_out(seed + 1, n_held_out)

    torch.manual_seed(seed)
    model = build_model(len(vocabulary))
    tokenizer = WordTokenizer(save_vocabulary(vocabulary, work))
    optimizer = _optimizer(model, recipe)
    first, seconds = _restore(work / CHECKPOINT_NAME, model, optimizer, recipe)

    started, losses = time.monotonic(), []
    for step in range(first, steps):
        for group in optimizer.param_groups:
            group["lr"] = scheduled_rate(step, recipe)
        loss = _loss(model, tokenizer, images, fields, step, recipe)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0.0, math.log(100.0))  # as in CLIP
        losses.append(loss.item())
        done, spent = step + 1, time.monotonic() - started
        if done % 50 == 0:
            pace = spent / (done - first)
            log.info(
                "step %d of %d · loss %.3f · %.3f s/step · %.0f min left",
                done, steps, np.mean(losses[-50:]), pace, (steps - done) * pace / 60,
            )  # fmt: skip
        if done % checkpoint_every == 0 or done == steps:
            scores = score_sets(model, tokenizer, held_out)
            model.train()
            log.info(" · ".join(f"{name} {value:.3f}" for name, value in scores.items()))
            save_model(model, vocabulary, work)
            _checkpoint(work / CHECKPOINT_NAME, model, optimizer, done, seconds + spent, recipe)
    scores = score_sets(model, tokenizer, held_out)
    save_model(model, vocabulary, out_dir)
    spent = seconds + time.monotonic() - started
    _write_facts(out_dir / FACTS_NAME, recipe, spent, threads, scores)
    if not keep_training:
        shutil.rmtree(work)
    return scores


def scheduled_rate(step: int, recipe: Recipe) -> float:
    """Return the learning rate: linear warm-up, then a cosine to a hundredth of the peak."""
    if step < WARM_UP:
        return recipe.learning_rate * (step + 1) / WARM_UP
    progress = (step - WARM_UP) / max(1, recipe.steps - WARM_UP)
    return recipe.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))


def _optimizer(model: torch.nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": WEIGHT_DECAY},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98))


def _loss(
    model: torch.nn.Module,
    tokenizer: WordTokenizer,
    images: np.ndarray,
    fields: dict[str, np.ndarray],
    step: int,
    recipe: Recipe,
) -> Tensor:
    """Return the loss of one step, whose own generator makes all random choices."""
    rng = scene_rng(recipe.seed, "step", step)
    chosen = np.sort(rng.choice(len(images), size=recipe.batch_size, replace=False))
    batch = jitter_images(rng, images[chosen])
    shown = {name: column[chosen] for name, column in fields.items()}
    second_half = step >= recipe.steps // 2
    said = said_objects(rng, shown, second_half)
    contrasts = draw_contrasts(rng, shown, said, second_half)
    texts = TextBatch()
    rows = [texts.add(contrast.texts) for contrast in contrasts]
    caption_rows = texts.add(draw_captions(rng, shown, said))
    # At 50 tokens the fused attention kernel takes longer on a CPU than the plain products:
    # measured 0.42 against 0.24 s per step.
    with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
        embedded = model.encode_image(to_pixels(torch.from_numpy(batch)), normalize=True)
        text_embedded = encode_texts(model, texts.tokens(tokenizer))
    logits = model.logit_scale.exp() * embedded.float() @ text_embedded.float().T  # [image, text]
    return contrast_loss(logits, contrasts, rows) + caption_loss(logits, caption_rows)


def _checkpoint(
    path: Path,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    step: int,
    seconds: float,
    recipe: Recipe,
) -> None:
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "step": step,
        "seconds": seconds,
        "recipe": asdict(recipe),
    }
    partial = path.with_suffix(".part")
    torch.save(state, partial)
    os.replace(partial, path)  # a killed run keeps the previous checkpoint whole


def _restore(
    path: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer, recipe: Recipe
) -> tuple[int, float]:
    """Load the checkpoint, if any; return the finished steps and their seconds."""
    if not path.is_file():
        return 0, 0.0
    state = torch.load(path, weights_only=True)
    if state["recipe"] != asdict(recipe):
        raise ValueError(
            f"{path} was started with {state['recipe']}, but this run requests {asdict(recipe)}; "
            f"delete the folder {path.parent} to train again"
        )
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    log.info("resumed at step %d", state["step"])
    return state["step"], state["seconds"]


def _write_facts(
    path: Path, recipe: Recipe, seconds: float, threads: int, scores: dict[str, float]
) -> None:
    facts = {
        "recipe": asdict(recipe),
        "minutes": round(seconds / 60),
        "threads": threads,
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "held_out": {name: round(value, 4) for name, value in scores.items()},
    }
    path.write_text(json.dumps(facts, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out_dir", type=Path, help="folder of the trained model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--batch-size", type=int, default=128, help="images")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="peak")
    parser.add_argument("--n-images", type=int, default=200_000, help="size of the pool")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads and drawing processes")
    parser.add_argument("--checkpoint-every", type=int, default=500, help="steps")
    parser.add_argument("--keep-training", action="store_true", help="keep pool and checkpoint")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    for name, value in pretrain(**vars(parser.parse_args())).items():
        print(f"{name:16s} {value:.3f}")


if __name__ == "__main__":
    main()
