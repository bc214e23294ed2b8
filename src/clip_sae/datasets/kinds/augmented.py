"""Augmented sets: the images of another set, each as it is and once per operation.

Steering paper App. 10 (the SAE that was trained on augmented Waterbirds, Tables 7 and 8). Labels,
attributes and paths are those of the source; `datasets.augment` applies the operations while pixels
are read.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from clip_sae.planning.kinds import ImageCount, Maker, maker_of, register
from clip_sae.planning.reads import Inside, Outside

KIND = "augmented"
OPERATIONS = ("rotate", "crop", "contrast", "flip")


@register
class Augmented(Maker):
    """Images of other sets, turned, cropped, mirrored or with more contrast."""

    section = "augment"
    kind = KIND
    what = "another set's images, turned and cropped"
    schema = """
    description: >-
      make this set (of kind augmented) of another one, each image as it is and once per operation,
      applied while pixels are read
    required: [dataset]
    properties:
      dataset: {type: string, refersTo: datasets, description: "name under datasets"}
      splits:
        type: array
        minItems: 1
        uniqueItems: true
        items: {enum: [train, val, test]}
        default: [train]
        description: splits that the set has
      rotate:
        type: array
        uniqueItems: true
        items: {type: number, minimum: -180, maximum: 180}
        default: []
        description: degrees, counter-clockwise
      crop:
        type: array
        uniqueItems: true
        items: {type: number, exclusiveMinimum: 0, exclusiveMaximum: 100}
        default: []
        description: percent of width and height that is cut off at the edges
      contrast:
        type: array
        uniqueItems: true
        items: {type: number, exclusiveMinimum: 0}
        default: []
        description: factors of contrast
      flip: {type: boolean, default: false, description: also mirrored left to right}
    """

    def mistakes(self, where: str, section: Mapping, datasets: Mapping) -> Iterator[str]:
        """Yield a sentence for a source that is augmented itself, and for no operation."""
        if maker_of(datasets[section["dataset"]]) is self:
            yield f"{where}.dataset: {section['dataset']!r} is itself an augmented set."
        if not any(section[operation] for operation in OPERATIONS):
            yield f"{where}: name at least one of {', '.join(OPERATIONS)}."

    def root(self, plan, dataset: str, section: Mapping) -> Inside | Outside:
        """Return the root of the source."""
        return plan.root(section["dataset"])

    def listed_from(self, plan, section: Mapping) -> dict:
        """Read the index of the source."""
        return {"photographs": plan.index(section["dataset"])}

    def index(self, section: Mapping, photographs: Path):
        """Return every image of the source as it is, and once per operation."""
        from clip_sae.datasets.augment import augment_index, operation_list
        from clip_sae.datasets.manifest import read_index

        operations = operation_list({name: section[name] for name in OPERATIONS})
        return augment_index(read_index(photographs), operations, section["splits"])

    def count(self, section: Mapping, split: str, count: Callable) -> ImageCount:
        """Return one image of the source per operation, and one as it is."""
        source = count(section["dataset"], split)
        if split not in section["splits"]:
            return ImageCount(0, f"augment: {', '.join(section['splits'])} only")
        if source.n is None:
            return source
        lists = [section[name] for name in OPERATIONS]
        copies = 1 + sum(len(v) if isinstance(v, list) else bool(v) for v in lists)
        return ImageCount(copies * source.n, f"augment of {section['dataset']} ({source.source})")
