"""How many images each data set and split has, as far as it can be known without reading them.

In this order: what the user says, the manifest where the set has been indexed, the config's own
`draw`, `attack` and `augment` blocks, the option `expect`, and published counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from clip_sae.datasets.counts import OFFICIAL
from clip_sae.planning.augment_config import operations_of
from clip_sae.planning.plan import Plan

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class ImageCount:
    """`n` images that enter stores, None where nobody knows; `source` says how it is known."""

    n: int | None
    source: str


def parse_images(texts: list[str]) -> dict[tuple[str, str], int]:
    """Turn "dataset/split=N" texts into {(data set, split): N}.

    Raises ValueError for what has another form.
    """
    found = {}
    for text in texts:
        place, _, number = text.partition("=")
        dataset, _, split = place.partition("/")
        if split not in SPLITS or not dataset or not number.replace("_", "").isdecimal():
            raise ValueError(
                f"--images {text!r} cannot be read; write data set, split and number of images, "
                f"e.g. --images imagenet/train=1281167 (splits: {', '.join(SPLITS)})."
            )
        found[dataset, split] = int(number)
    return found


def count_images(
    plan: Plan, dataset: str, split: str, given: Mapping[tuple[str, str], int]
) -> ImageCount:
    """Return the number of usable images of one split of a data set of the plan's config."""
    if (dataset, split) in given:
        return ImageCount(given[dataset, split], "given")
    manifest = plan.index(dataset).folder / "manifest.csv"
    if manifest.is_file():
        return ImageCount(_usable(manifest, split), "manifest")
    block = plan.config["datasets"][dataset]
    if block["draw"] is not None:
        return ImageCount(block["draw"][f"n_{split}"], "draw")
    if block["attack"] is not None:
        return _attacked(plan, block["attack"], split, given)
    if block["augment"] is not None:
        return _augmented(plan, block["augment"], split, given)
    return _expected(block, split)


def _usable(manifest: Path, split: str) -> int:
    rows = pd.read_csv(manifest, usecols=["split", "status"], keep_default_na=False)
    return int(((rows["split"] == split) & (rows["status"] == "ok")).sum())


def _attacked(plan: Plan, block: Mapping, split: str, given: Mapping) -> ImageCount:
    if split not in block["splits"]:
        return ImageCount(0, "attack")
    source = count_images(plan, block["dataset"], split, given)
    if source.n is None:
        return source
    most = block["splits"][split]
    pairs = source.n if most is None else min(most, source.n)
    return ImageCount(2 * pairs, f"attack of {block['dataset']} ({source.source})")


def _augmented(plan: Plan, block: Mapping, split: str, given: Mapping) -> ImageCount:
    source = count_images(plan, block["dataset"], split, given)
    if split != "train":
        return ImageCount(0, "augment: training images only")
    if source.n is None:
        return source
    operations = operations_of(dict(block)).values()
    copies = 1 + sum(len(value) if isinstance(value, list) else bool(value) for value in operations)
    return ImageCount(copies * source.n, f"augment of {block['dataset']} ({source.source})")


def _expected(block: Mapping, split: str) -> ImageCount:
    expect = block["options"].get("expect", "official")
    if isinstance(expect, Mapping):
        n = expect.get(split)
        return ImageCount(n, "expect" if n is not None else "unknown")
    official = OFFICIAL.get(block["kind"] if expect == "official" else expect)
    if official is None:
        return ImageCount(None, "unknown")
    if split in official.splits:
        return ImageCount(official.splits[split], "published")
    if official.total is not None and not official.splits:  # sets of one split, called test
        return ImageCount(official.total if split == "test" else 0, "published")
    return ImageCount(None, "unknown")
