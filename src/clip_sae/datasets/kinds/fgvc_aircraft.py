"""FGVC-Aircraft, which lists its images in text files (PatchSAE §5)."""

from pathlib import Path

from clip_sae.datasets.listing import (
    DatasetError,
    Listing,
    compare_with_disk,
    require,
    rows_of,
    some,
)
from clip_sae.planning.inputs import SPLITS
from clip_sae.planning.kinds import kind


@kind("fgvc_aircraft", layout="`variants.txt`, `images_variant_<split>.txt` and `images/`")
def load_fgvc_aircraft(root: Path, options: dict) -> Listing:
    """FGVC-Aircraft (Maji et al. 2013), by variant.

    `root` is the folder `data` of the archive. Classes are in the order of variants.txt.
    """
    lists = {split: f"images_variant_{split}.txt" for split in SPLITS}
    require(root, "variants.txt", "images", *lists.values())
    variants = _lines(root / "variants.txt")
    images = []
    for split, name in lists.items():
        for line in _lines(root / name):
            image, _, label = line.partition(" ")
            images.append((f"images/{image}.jpg", split, label))
    rows = rows_of(*zip(*images, strict=True))
    unknown = sorted(set(rows["label"]) - set(variants))
    if unknown:
        raise DatasetError(
            f"{root} lists images of variants that variants.txt lacks: {some(unknown)}. Unpack the "
            "archive again."
        )
    ignored = compare_with_disk(root, rows["path"], "images_variant_*.txt")
    return Listing(rows, variants, ignored=ignored)


def _lines(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip()]
