"""Writing a drawn data set: all of it or nothing, and the same bytes for any number of workers."""

import csv
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image
from tqdm import tqdm

Job = TypeVar("Job")
Result = TypeVar("Result")

SPLITS = ("train", "val", "test")
JPEG_QUALITY = 95
_CHUNK = 64  # images handed to a worker at once: some 50 ms of drawing


@contextmanager
def staged_folder(target: Path) -> Iterator[Path]:
    """An empty folder beside `target` that takes its place when the block ends without error.

    A killed run leaves only the hidden sibling, which the next run clears away.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.parent / f".{target.name}.partial"
    outdated = target.parent / f".{target.name}.outdated"
    for leftover in (partial, outdated):
        shutil.rmtree(leftover, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    if target.exists():
        target.rename(outdated)
    partial.rename(target)
    shutil.rmtree(outdated, ignore_errors=True)


def write_csv(path: Path, rows: Sequence[dict[str, object]]) -> None:
    """Rows with the same keys, comma-separated, `\\n` line ends."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def save_image(path: Path, image: np.ndarray) -> None:
    """uint8 [y, x, rgb] or [y, x] as .png, or as .jpg in the quality of photographs."""
    options = {"quality": JPEG_QUALITY} if path.suffix == ".jpg" else {"compress_level": 3}
    Image.fromarray(image).save(path, **options)


def draw_all(
    draw: Callable[[Job], Result], jobs: Sequence[Job], *, workers: int, progress: bool, name: str
) -> list[Result]:
    """Run `draw` on every job; results in the order of the jobs. `draw` is a top-level function
    and takes its randomness from the job alone."""
    if workers <= 1:
        return list(_watched(map(draw, jobs), len(jobs), progress, name))
    with ProcessPoolExecutor(workers) as executor:
        results = executor.map(draw, jobs, chunksize=_CHUNK)
        return list(_watched(results, len(jobs), progress, name))


def _watched(results: Iterable[Result], total: int, progress: bool, name: str) -> Iterator[Result]:
    yield from tqdm(results, total=total, desc=f"draw {name}", unit="image", disable=not progress)


def check_counts(name: str, n_train: int, n_val: int, n_test: int) -> dict[str, int]:
    """Images per split, refused if any is negative or all are zero."""
    counts = dict(zip(SPLITS, (n_train, n_val, n_test), strict=True))
    if min(counts.values()) < 0 or max(counts.values()) == 0:
        raise ValueError(
            f"the demo's {name} set was asked for {counts} images; give at least one split a "
            "positive count and none a negative one"
        )
    return counts
