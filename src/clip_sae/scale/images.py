"""Count the images of each data set and split, as far as possible without reading them.

Sources, in this order: the user, the manifest of an indexed set, the section of the config that
makes the set (`planning.kinds.Maker.count`), the option `expect`, and published counts.
"""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from clip_sae.planning.inputs import SPLITS
from clip_sae.planning.kinds import ImageCount, maker_of, published
from clip_sae.planning.plan import Plan


def parse_images(texts: list[str]) -> dict[tuple[str, str], int]:
    """Turn "dataset/split=N" texts into {(data set, split): N}.

    Raises ValueError for a text of another form.
    """
    found = {}
    for text in texts:
        name, _, number = text.partition("=")
        dataset, _, split = name.partition("/")
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
    entry = plan.config["datasets"][dataset]
    maker = maker_of(entry)
    if maker is None:
        return _expected(entry, split)

    def count(source: str, split: str) -> ImageCount:
        return count_images(plan, source, split, given)

    return maker.count(entry[maker.section], split, count)


def _usable(manifest: Path, split: str) -> int:
    rows = pd.read_csv(manifest, usecols=["split", "status"], keep_default_na=False)
    return int(((rows["split"] == split) & (rows["status"] == "ok")).sum())


def _expected(entry: Mapping, split: str) -> ImageCount:
    expect = entry["options"].get("expect", "official")
    if isinstance(expect, Mapping):
        n = expect.get(split)
        return ImageCount(n, "expect" if n is not None else "unknown")
    official = published().get(entry["kind"] if expect == "official" else expect)
    if official is None:
        return ImageCount(None, "unknown")
    if split in official.splits:
        return ImageCount(official.splits[split], "published")
    if official.total is not None and not official.splits:  # sets of one split, called test
        return ImageCount(official.total if split == "test" else 0, "published")
    return ImageCount(None, "unknown")
