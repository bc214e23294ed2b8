"""The demo world on disk, in the layouts of the real data sets, so that the same loaders read it.

general/{train,val,test}/<class>/<class>_00001.png    ImageNet's folders
general/masks/test/<class>/<class>_00001.png          255 on the object, 0 elsewhere
general/scenes.csv                                    colour and background per image
negative/                                             as general, in negative colours
typographic/<split>/label=<class>_text=<word>.png     RTA-100's flat folder
typographic/attacks.csv                               word, font, size, colour, box
waterbirds/   celeba/                                 in modules of their own
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np

from clip_sae.datasets.writing import draw_all, save_image, staged_folder, write_csv
from clip_sae_demo.plugin import WORLDS
from clip_sae_demo.scenes import draw_scene
from clip_sae_demo.world import OBJECTS, scene_rng

MASKED_SPLIT = "test"  # localisation is scored on test images only
N_PAIRS = len(OBJECTS) * (len(OBJECTS) - 1)  # (label, word) pairs; file names hold each once


@dataclass(frozen=True)
class World:
    """One set of the demo world.

    Attributes:
        plan: (folder, seed, {split: images}) → the images to draw; makes their folders.
        draw: draw and save one of them; return its row. A top-level function, for processes.
        finish: (folder, images, rows): write the lists of the set.
    """

    plan: Callable[[Path, int, Mapping[str, int]], list]
    draw: Callable[[object], object]
    finish: Callable[[Path, Sequence, list], None]


def write_set(
    name: str,
    root: Path,
    *,
    seed: int,
    n_train: int,
    n_val: int,
    n_test: int,
    workers: int = 1,
    progress: bool = True,
) -> None:
    """Write `<root>/<name>`, whole or not at all; the bytes do not depend on `workers`."""
    counts = {"train": n_train, "val": n_val, "test": n_test}
    if min(counts.values()) < 0 or max(counts.values()) == 0:
        raise ValueError(
            f"the demo's {name} set cannot have {counts} images; give at least one split a "
            "positive count and none a negative one"
        )
    module, _, constant = WORLDS[name].partition(":")
    world: World = getattr(import_module(module), constant)
    with staged_folder(Path(root) / name) as folder:
        images = world.plan(folder, seed, counts)
        rows = draw_all(world.draw, images, workers=workers, progress=progress, name=name)
        world.finish(folder, images, rows)


@dataclass(frozen=True)
class _Image:
    folder: Path
    seed: int
    split: str
    index: int
    negative: bool = False


def _images(folder: Path, seed: int, counts: Mapping[str, int], **kind: bool) -> list[_Image]:
    return [_Image(folder, seed, s, i, **kind) for s, n in counts.items() for i in range(n)]


# --- general and negative -------------------------------------------------------------------------


def _plan_classes(
    folder: Path, seed: int, counts: Mapping[str, int], *, negative: bool = False
) -> list[_Image]:
    """Take the classes in turn, so that each has equally many images."""
    for split, n in counts.items():
        for name in OBJECTS[:n]:
            (folder / split / name).mkdir(parents=True)
            if split == MASKED_SPLIT:
                (folder / "masks" / split / name).mkdir(parents=True)
    return _images(folder, seed, counts, negative=negative)


def _plan_negative(folder: Path, seed: int, counts: Mapping[str, int]) -> list[_Image]:
    return _plan_classes(folder, seed, counts, negative=True)


def _class_image(image: _Image) -> dict[str, object]:
    name = OBJECTS[image.index % len(OBJECTS)]
    world = "negative" if image.negative else "general"
    scene = draw_scene(scene_rng(image.seed, world, image.split, image.index), name)
    relative = f"{image.split}/{name}/{name}_{image.index // len(OBJECTS) + 1:05d}.png"
    save_image(image.folder / relative, 255 - scene.image if image.negative else scene.image)
    if image.split == MASKED_SPLIT:
        save_image(image.folder / "masks" / relative, scene.mask.astype(np.uint8) * 255)
    return {
        "path": relative,
        "split": image.split,
        "label": name,
        "colour": scene.colour,
        "background": scene.background,
    }


def _finish_classes(folder: Path, images: Sequence, rows: list) -> None:
    write_csv(folder / "scenes.csv", rows)


# Stands for ImageNet.
GENERAL = World(_plan_classes, _class_image, _finish_classes)
# Stands for the sets that CLIP is adapted to: other scenes of the same objects, each byte b shown
# as 255 − b. Shapes stay, but the demo CLIP has never seen such colours, light and backgrounds.
NEGATIVE = World(_plan_negative, _class_image, _finish_classes)


# --- typographic ----------------------------------------------------------------------------------


def attack_pair(seed: int, split: str, index: int) -> tuple[str, str]:
    """Return the (label, word) pair of an image: round r pairs each class with one r steps on.

    The order of the rounds is random per split. Every class comes equally often as label and as
    word, also in smaller splits.
    """
    n = len(OBJECTS)
    rounds = scene_rng(seed, "typographic", split, "rounds").permutation(np.arange(1, n))
    label = index % n
    return OBJECTS[label], OBJECTS[(label + int(rounds[index // n])) % n]


def _plan_words(folder: Path, seed: int, counts: Mapping[str, int]) -> list[_Image]:
    if max(counts.values()) > N_PAIRS:
        raise ValueError(
            f"the demo's typographic set cannot have {counts} images; a split is one flat "
            f"folder of label=<class>_text=<word>.png, so at most {N_PAIRS} "
            f"({len(OBJECTS)} classes x {len(OBJECTS) - 1} other words)"
        )
    for split, n in counts.items():
        if n:
            (folder / split).mkdir()
    return _images(folder, seed, counts)


def _word_image(image: _Image) -> dict[str, object]:
    label, word = attack_pair(image.seed, image.split, image.index)
    rng = scene_rng(image.seed, "typographic", image.split, image.index)
    scene = draw_scene(rng, label, word)
    relative = f"{image.split}/label={label}_text={word}.png"
    save_image(image.folder / relative, scene.image)
    written = scene.written
    box = dict(zip(("left", "top", "right", "bottom"), written.box, strict=True))
    return {
        "path": relative,
        "split": image.split,
        "label": label,
        "word": word,
        "font": written.font,
        "size": written.size,
        "colour": written.colour,
        **box,
    }


def _finish_words(folder: Path, images: Sequence, rows: list) -> None:
    write_csv(folder / "attacks.csv", rows)


TYPOGRAPHIC = World(_plan_words, _word_image, _finish_words)  # stands for RTA-100
