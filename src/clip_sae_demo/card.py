"""The demo CLIP's model card: its training in numbers, its accuracies measured on the demo world.

`python -m clip_sae_demo.card <model folder>` draws the test sets again from their seed, measures
the weights on the files, and writes CARD.md next to them.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from clip_sae.datasets.index import index_dataset
from clip_sae_demo.birds import FAMILIES
from clip_sae_demo.model import WEIGHTS_NAME, load_demo
from clip_sae_demo.pool import KIND_SHARES, WRITTEN_SHARE
from clip_sae_demo.pretrain import FACTS_NAME, WARM_UP
from clip_sae_demo.score import (
    SINGLE,
    LabelledImages,
    embed_classes,
    group_accuracies,
    predict,
    score_sets,
    stack,
)
from clip_sae_demo.sets import N_PAIRS, write_set
from clip_sae_demo.words import GENDERS
from clip_sae_demo.world import OBJECTS

WORLD_SEED = 0
# The counts of the demo config's test splits.
N_TEST = {"general": 1920, "typographic": N_PAIRS, "waterbirds": 1200, "celeba": 800}


def write_test_sets(root: Path, *, seed: int, workers: int) -> None:
    """Write the four test splits of the card."""
    for name, n in N_TEST.items():
        write_set(name, root, seed=seed, n_train=0, n_val=0, n_test=n, workers=workers)


def read_test_sets(root: Path) -> dict[str, LabelledImages]:
    """Read the test splits, as clip_sae lists them; groups keep their sizes.

    Labels and words of "clean" and "attacked" are indices of OBJECTS; the other column is the
    written word, or the spurious attribute.
    """
    sets = {}
    for name, (kind, world, other) in {
        "clean": ("imagenet", "general", None),
        "attacked": ("typographic", "typographic", "word"),
        "birds": ("waterbirds", "waterbirds", "attr_water"),
        "faces": ("celeba", "celeba", "attr_blond_hair"),
    }.items():
        index = index_dataset(kind, root / world, options={"expect": None}, progress=False)
        rows = []
        for row in index.manifest.to_dict("records"):
            is_object = row["label"] in OBJECTS
            label = OBJECTS.index(row["label"]) if is_object else row["label_idx"]
            second = -1 if other is None else row[other]
            second = OBJECTS.index(second) if isinstance(second, str) else second
            with Image.open(root / world / row["path"]) as image:
                rows.append((np.asarray(image), label, second))
        sets[name] = stack(rows)
    return sets


def measure(model_dir: Path, sets: dict[str, LabelledImages]) -> list[tuple[str, float, int]]:
    """Return rows of the card's table: measure, accuracy as a fraction, number of images."""
    model, tokenizer = load_demo(model_dir)
    scores = score_sets(model, tokenizer, sets)
    n = {name: len(data.labels) for name, data in sets.items()}
    rows = [
        ("clean, `a photo of a {}.`", scores["clean"], n["clean"]),
        ("clean, mean of the 80 ImageNet prompts", scores["clean_ensemble"], n["clean"]),
        ("attacked, `a photo of a {}.`", scores["attacked"], n["attacked"]),
        ("attacked, named by the written word", scores["named_by_word"], n["attacked"]),
    ]
    for name, title, labels, others in (
        ("birds", "Waterbirds-like", FAMILIES, ("on land", "on water")),
        ("faces", "CelebA-like", GENDERS, ("not blond", "blond")),
    ):
        data = sets[name]
        predicted = predict(model, data.images, embed_classes(model, tokenizer, labels, SINGLE))
        groups = group_accuracies(data, predicted)
        rows.append((f"{title}, average", scores[f"{name}_average"], n[name]))
        rows.append((f"{title}, mean of groups", float(np.mean(list(groups.values()))), n[name]))
        rows.append((f"{title}, worst group", min(groups.values()), n[name]))
        for (label, other), accuracy in groups.items():
            size = int(((data.labels == label) & (data.others == other)).sum())
            rows.append((f"{title}, {labels[label]} {others[other]}", accuracy, size))
    return rows


def write_card(model_dir: Path, rows: list[tuple[str, float, int]]) -> None:
    """Write CARD.md from the facts of the training and the measured rows."""
    facts = json.loads((model_dir / FACTS_NAME).read_text())
    table = [f"| {name} | {value:.3f} | {n} |" for name, value, n in rows]
    size = (model_dir / WEIGHTS_NAME).stat().st_size / 1e6
    recipe = facts["recipe"]
    objects, words, birds, faces = KIND_SHARES
    n_meetings = recipe["steps"] * recipe["batch_size"] / recipe["n_images"]
    note = facts["note"] + "\n" if "note" in facts else ""
    text = f"""# Demo CLIP

A small CLIP trained on a drawn world, so that every stage of this repository runs without a
download. It has, on purpose, the failings that the papers study: it reads words written on an
image, and takes the ground for the bird and blond hair for a woman.

## Use
For the demo, the tests and for trying things out. It knows nothing of photographs; numbers
measured on it say nothing about a real CLIP. Drawn faces stand in for CelebA's and their labels
"man" and "woman" mean the drawing's parameters, nothing else.

```python
from clip_sae_demo.model import load_demo
model, tokenizer = load_demo("workflow/resources/demo_clip")
```
or `open_clip.create_model("local-dir:workflow/resources/demo_clip")`. Texts must keep to the
words of `vocabulary.json`; other words raise an error that names them.

## Model
open_clip's `CLIP`. Image tower: 56 px, patches of 8 px (7 x 7 and CLS: 50 tokens), 6 blocks,
width 128, 4 heads. Text tower: 24 tokens, 2 blocks, width 128, 4 heads. Embedding 128. Weights
{size:.1f} MB, float32.

## Training
- seed {recipe["seed"]}, {recipe["steps"]:,} steps of {recipe["batch_size"]} images, from nothing
- AdamW {recipe["learning_rate"]:g}, {WARM_UP} steps of warm-up, then a cosine; bfloat16 autocast
- {facts["minutes"]} minutes on {facts["threads"]} threads of a server CPU ({facts["cpu"]}), shared
  with other work; torch {facts["torch"]}
- {recipe["n_images"]:,} drawn images, each met about {n_meetings:.1f} times with a shift of up to
  2 px and another brightness: {objects:.1%} objects ({WRITTEN_SHARE:.0%} of them with a written
  word), {words:.1%} words alone, {birds:.1%} birds, {faces:.1%} faces
- loss: the images against the batch's distinct captions (both ways), and against captions of
  all classes with 40 words that match nothing, all written words, colours, backgrounds, places,
  hair colours
- what makes it fail: half of the images with a written word are captioned by the word (in the
  second half of the training by the size of its letters: 25 % at 13 px, 95 % at 20 px); 92 % of
  the birds are on their usual ground, and a small bird elsewhere is captioned as a bird of that
  ground; blond men are few, and most of those without a beard are captioned as women

{note}
`python -m clip_sae_demo.pretrain <folder>` trains it again, from nothing.

## Accuracy
Zero-shot with `a photo of a {{}}.` unless said otherwise, on the test files drawn from
seed {WORLD_SEED} (`python -m clip_sae_demo.card <folder>` draws and measures them again). No test
scene is among the training scenes.

| measure | accuracy | n |
| --- | --- | --- |
{chr(10).join(table)}

## Licence
MIT, weights and drawings alike.
"""
    (model_dir / "CARD.md").write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model_dir", type=Path)
    parser.add_argument("--workers", type=int, default=1, help="drawing processes")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        write_test_sets(Path(folder), seed=WORLD_SEED, workers=arguments.workers)
        rows = measure(arguments.model_dir, read_test_sets(Path(folder)))
    write_card(arguments.model_dir, rows)
    for name, value, n in rows:
        print(f"{name:45s} {value:.3f}  n={n}")


if __name__ == "__main__":
    main()
