"""Write a made data set, whole or not at all, with the same bytes for any number of workers."""

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

Item = TypeVar("Item")
Result = TypeVar("Result")

JPEG_QUALITY = 95
_CHUNK = 64  # images per task of a worker: about 50 ms of drawing


@contextmanager
def staged_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder that replaces `target` if the `with` statement ends without error.

    A killed run leaves only a hidden folder next to `target`, which the next run deletes.
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
    """Write rows with the same keys: comma-separated, with `\\n` line ends."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def save_image(path: Path, image: np.ndarray) -> None:
    """Save uint8 [y, x, rgb] or [y, x] as .png, or as .jpg in the quality of photographs."""
    options = {"quality": JPEG_QUALITY} if path.suffix == ".jpg" else {"compress_level": 3}
    Image.fromarray(image).save(path, **options)


def draw_all(
    draw: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    workers: int,
    progress: bool,
    name: str,
) -> list[Result]:
    """Run `draw` on every item; return the results in the same order.

    `draw` is a top-level function and takes its randomness from the item alone.
    """
    if workers <= 1:
        return list(_watched(map(draw, items), len(items), progress, name))
    with ProcessPoolExecutor(workers) as executor:
        results = executor.map(draw, items, chunksize=_CHUNK)
        return list(_watched(results, len(items), progress, name))


def _watched(results: Iterable[Result], total: int, progress: bool, name: str) -> Iterator[Result]:
    yield from tqdm(results, total=total, desc=f"draw {name}", unit="image", disable=not progress)
