"""Attacked copies of a data set: each image twice, as it is and with a word on it.

Steering paper §7.2: the typographic latents are those that the word turns on (Table 2).
`datasets.attack.copies` writes the files.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from clip_sae.datasets.listing import (
    ATTACKED,
    CLEAN,
    DatasetError,
    Listing,
    compare_with_disk,
    read_table,
    require,
    rows_of,
    some,
)
from clip_sae.planning.artefacts import COMPLETE
from clip_sae.planning.kinds import ImageCount, Maker, kind, maker_of, register
from clip_sae.planning.steps import Rule
from clip_sae.planning.versions import ATTACK_VERSION

KIND = "attacked_pairs"
PAIRS = "pairs"  # folder of the images, below that of the job
ATTACKS_NAME, CLASSES_NAME = "attacks.csv", "classes.csv"
_TEXT = {"dtype": str, "keep_default_na": False}


@kind(KIND, layout="`clean/<path>`, `attacked/<path>`, `attacks.csv` and `classes.csv`")
def load_attacked_pairs(root: Path, options: dict) -> Listing:
    """Images with and without a word on them, as `attack` writes them.

    `word` of an attacked image is the label of the class whose name is written, of a clean one
    empty. Classes and their prompt names are those of `classes.csv`, in its order.
    """
    require(root, ATTACKS_NAME, CLASSES_NAME)
    attacks = read_table(root / ATTACKS_NAME, ("path", "split", "label", "word"), **_TEXT)
    classes = read_table(root / CLASSES_NAME, ("label", "name"), **_TEXT)
    unknown = (set(attacks["label"]) | set(attacks["word"])) - set(classes["label"])
    if unknown:
        raise DatasetError(
            f"{root / ATTACKS_NAME} names the classes {some(sorted(unknown))}, which "
            f"{CLASSES_NAME} does not list. Delete the folder and run snakemake again."
        )
    rows = rows_of(
        [f"{part}/{path}" for part in (CLEAN, ATTACKED) for path in attacks["path"]],
        2 * attacks["split"].tolist(),
        2 * attacks["label"].tolist(),
        [""] * len(attacks) + attacks["word"].tolist(),
    )
    ignored = compare_with_disk(root, rows["path"], ATTACKS_NAME)
    names = dict(zip(classes["label"], classes["name"], strict=True))
    return Listing(rows, [*names], names, CLASSES_NAME, ignored=ignored)


@register
class AttackedCopy(Maker):
    """Copies of another set's images, each as it is and with another class's name on it."""

    section = "attack"
    kind = KIND
    what = "a copy with words on it"
    rule = Rule(
        "attack_images",
        f"world/{{attacked}}-{{digest}}/{COMPLETE}",
        "clip_sae.datasets.step:attack_images",
        stage="attack",
    )
    help = "Copy a data set, each image as it is and with another class's name written on it."
    version = ATTACK_VERSION
    schema = """
    description: >-
      make this set (of kind attacked_pairs) of another one, each image as it is and with another
      class's name on it
    required: [dataset, splits]
    properties:
      dataset: {type: string, refersTo: datasets, description: "the set that is copied"}
      splits:
        type: object
        minProperties: 1
        additionalProperties: false
        description: splits to copy, and how many images of each at most; null for all
        properties:
          train: {type: [integer, "null"], minimum: 2, description: images}
          val: {type: [integer, "null"], minimum: 2, description: images}
          test: {type: [integer, "null"], minimum: 2, description: images}
      seed: {type: integer, minimum: 0, default: 0, description: of the words and their looks}
      font_size:
        type: array
        minItems: 2
        maxItems: 2
        items: {type: number, exclusiveMinimum: 0, maximum: 1}
        default: [0.0893, 0.1786]
        description: >-
          least and greatest size of the letters, in shares of the image's side (20 and 40 of
          224 px)
    """

    def mistakes(self, where: str, section: Mapping, datasets: Mapping) -> Iterator[str]:
        """Yield a sentence for a source that cannot be copied and for sizes in disorder."""
        maker = maker_of(datasets[section["dataset"]])
        if maker is self:
            yield f"{where}.dataset: {section['dataset']!r} is itself an attacked copy."
        elif maker is not None and maker.rule is None:
            yield (
                f"{where}.dataset: {section['dataset']!r} is an {maker.kind} set, whose images "
                "have no files of their own. Name the set that it is made from."
            )
        low, high = section["font_size"]
        if low > high:
            yield f"{where}.font_size: write the smaller share first; found {low}, {high}."

    def declares(self, plan, section: Mapping) -> dict:
        """Read the source's images, decoded as extraction decodes them."""
        return {
            "reads": {"images": plan.images(section["dataset"])},
            "values": {key: section[key] for key in ("splits", "seed", "font_size")},
            "recorded": {"dataset": section["dataset"], "decoding": plan.decoding},
        }

    def folder(self, section: Mapping) -> str:
        """Return the folder of the pairs."""
        return PAIRS

    def count(self, section: Mapping, split: str, count: Callable) -> ImageCount:
        """Return two images per pair."""
        if split not in section["splits"]:
            return ImageCount(0, "attack")
        source = count(section["dataset"], split)
        if source.n is None:
            return source
        most = section["splits"][split]
        pairs = source.n if most is None else min(most, source.n)
        return ImageCount(2 * pairs, f"attack of {section['dataset']} ({source.source})")
