"""Read every file of a set once: its size, optionally its content digest, and its image.

Serves the manifests of all data sets, so that no run meets a bad image half-way.
"""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from clip_sae.datasets.images import BadImageError, ImageFacts, check_image

_CHUNK = 4096  # tasks queued at once: a million of them would fill the memory


@dataclass(frozen=True)
class FileFacts:
    """size: bytes; content: sha256 or ""; reason: fault of a bad image or ""; image: if opened."""

    size: int
    content: str
    reason: str
    image: ImageFacts | None


def scan_files(
    root: Path,
    paths: list[str],
    *,
    check: bool,
    content: bool,
    max_pixels: int,
    workers: int,
    progress: bool,
) -> list[FileFacts]:
    """Return the facts of every file, in the order of `paths` for any number of threads."""

    def scan(path: str) -> FileFacts:
        return _scan_file(root / path, check, content, max_pixels)

    with tqdm(total=len(paths), desc="checking images", unit="img", disable=not progress) as bar:
        facts = []
        for fact in _in_order(scan, paths, workers):
            facts.append(fact)
            bar.update()
    return facts


def _in_order(
    scan: Callable[[str], FileFacts], paths: list[str], workers: int
) -> Iterator[FileFacts]:
    if workers <= 1:
        yield from map(scan, paths)
        return
    with ThreadPoolExecutor(workers) as pool:  # threads: Pillow decodes without the GIL
        for start in range(0, len(paths), _CHUNK):
            yield from pool.map(scan, paths[start : start + _CHUNK])


def _scan_file(path: Path, check: bool, content: bool, max_pixels: int) -> FileFacts:
    size = path.stat().st_size
    image, reason = None, ""
    try:
        if check:
            image = check_image(path, max_pixels=max_pixels)
    except BadImageError as error:
        reason = error.reason
    return FileFacts(size, _sha256(path) if content else "", reason, image)


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
