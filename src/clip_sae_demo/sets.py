"""The demo world on disk, in the layouts of the real data sets, so that the same loaders read it.

`write_*(root, ...)` writes `<root>/<set>` and draws nothing it was not asked for. Counts are
images per split. The Waterbirds-like and CelebA-like sets are in modules of their own.

    <root>/general/{train,val,test}/<class>/<class>_00001.png    ImageNet's folders
    <root>/general/masks/test/<class>/<class>_00001.png          255 on the object, 0 elsewhere
    <root>/general/scenes.csv                                    colour and background per image
    <root>/negative/                                             as general, in negative colours
    <root>/typographic/<split>/label=<class>_text=<word>.png     RTA-100's flat folder
    <root>/typographic/attacks.csv                               word, font, size, colour, box
    <root>/waterbirds/   <root>/celeba/   <root>/vocabulary.txt
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clip_sae.datasets.writing import (
    check_counts,
    draw_all,
    save_image,
    staged_folder,
    write_csv,
)
from clip_sae.planning.specs import write_text
from clip_sae_demo.celeba import write_celeba
from clip_sae_demo.scenes import draw_scene
from clip_sae_demo.waterbirds import write_waterbirds
from clip_sae_demo.words import VOCABULARY
from clip_sae_demo.world import OBJECTS, scene_rng

__all__ = [
    "N_PAIRS",
    "write_celeba",
    "write_general",
    "write_negative",
    "write_typographic",
    "write_vocabulary",
    "write_waterbirds",
]

MASKED_SPLIT = "test"  # localisation is scored on test images only
N_PAIRS = len(OBJECTS) * (len(OBJECTS) - 1)  # (label, word) pairs; file names hold each once


@dataclass(frozen=True)
class _Job:
    folder: Path
    seed: int
    split: str
    index: int
    world: str = "general"


def write_general(
    root: Path,
    *,
    seed: int,
    n_train: int,
    n_val: int,
    n_test: int,
    workers: int = 1,
    progress: bool = True,
) -> None:
    """The stand-in for ImageNet: `<root>/general`, classes in turn, so equally many of each."""
    counts = check_counts("general", n_train, n_val, n_test)
    _write_classes(root, "general", seed, counts, workers, progress)


def write_negative(
    root: Path,
    *,
    seed: int,
    n_train: int,
    n_val: int,
    n_test: int,
    workers: int = 1,
    progress: bool = True,
) -> None:
    """The stand-in for the sets that CLIP is adapted to: `<root>/negative`, as a film's negative.

    The objects are those of `general`, other scenes of them, each byte b shown as 255 − b: shapes
    are kept, while light and dark, colours and backgrounds are what the demo CLIP has never seen.
    """
    counts = check_counts("negative", n_train, n_val, n_test)
    _write_classes(root, "negative", seed, counts, workers, progress)


def _write_classes(
    root: Path, world: str, seed: int, counts: dict[str, int], workers: int, progress: bool
) -> None:
    with staged_folder(Path(root) / world) as folder:
        for split, n in counts.items():
            for name in OBJECTS[:n]:
                (folder / split / name).mkdir(parents=True)
                if split == MASKED_SPLIT:
                    (folder / "masks" / split / name).mkdir(parents=True)
        jobs = [
            _Job(folder, seed, split, i, world) for split, n in counts.items() for i in range(n)
        ]
        rows = draw_all(_class_image, jobs, workers=workers, progress=progress, name=world)
        write_csv(folder / "scenes.csv", rows)


def _class_image(job: _Job) -> dict[str, object]:
    name = OBJECTS[job.index % len(OBJECTS)]
    scene = draw_scene(scene_rng(job.seed, job.world, job.split, job.index), name)
    relative = f"{job.split}/{name}/{name}_{job.index // len(OBJECTS) + 1:05d}.png"
    image = 255 - scene.image if job.world == "negative" else scene.image
    save_image(job.folder / relative, image)
    if job.split == MASKED_SPLIT:
        save_image(job.folder / "masks" / relative, scene.mask.astype(np.uint8) * 255)
    return {
        "path": relative,
        "split": job.split,
        "label": name,
        "colour": scene.colour,
        "background": scene.background,
    }


def write_typographic(
    root: Path,
    *,
    seed: int,
    n_train: int,
    n_val: int,
    n_test: int,
    workers: int = 1,
    progress: bool = True,
) -> None:
    """The stand-in for RTA-100: `<root>/typographic`, at most `N_PAIRS` images per split.

    A split takes the pairs in an order in which every class comes equally often as label and as
    word, so that smaller splits stay balanced.
    """
    counts = check_counts("typographic", n_train, n_val, n_test)
    if max(counts.values()) > N_PAIRS:
        raise ValueError(
            f"the demo's typographic set was asked for {counts} images; a split is one flat "
            f"folder of label=<class>_text=<word>.png, so at most {N_PAIRS} "
            f"({len(OBJECTS)} classes x {len(OBJECTS) - 1} other words)"
        )
    with staged_folder(Path(root) / "typographic") as folder:
        for split, n in counts.items():
            if n:
                (folder / split).mkdir()
        jobs = [_Job(folder, seed, split, i) for split, n in counts.items() for i in range(n)]
        rows = draw_all(
            _typographic_image, jobs, workers=workers, progress=progress, name="typographic"
        )
        write_csv(folder / "attacks.csv", rows)


def attack_pair(seed: int, split: str, index: int) -> tuple[str, str]:
    """The (label, word) pair of an image: round r pairs each class with the one r places on,
    the order of rounds being drawn by lot per split."""
    n = len(OBJECTS)
    rounds = scene_rng(seed, "typographic", split, "rounds").permutation(np.arange(1, n))
    label = index % n
    return OBJECTS[label], OBJECTS[(label + int(rounds[index // n])) % n]


def _typographic_image(job: _Job) -> dict[str, object]:
    label, word = attack_pair(job.seed, job.split, job.index)
    rng = scene_rng(job.seed, "typographic", job.split, job.index)
    scene = draw_scene(rng, label, word)
    relative = f"{job.split}/label={label}_text={word}.png"
    save_image(job.folder / relative, scene.image)
    written = scene.written
    assert written is not None
    left, top, right, bottom = written.box
    return {
        "path": relative,
        "split": job.split,
        "label": label,
        "word": word,
        "font": written.font,
        "size": written.size,
        "colour": written.colour,
        "left": left,
        "top": top,
        "right": right,
        "bottom": bottom,
    }


def write_vocabulary(root: Path) -> None:
    """The concept vocabulary, one word per line: `<root>/vocabulary.txt`."""
    write_text(Path(root) / "vocabulary.txt", "\n".join(VOCABULARY) + "\n")
