"""Values that a step's function receives for the model, the images and the SAEs it reads.

Plain data; `planning.reads` makes them. Standard library only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class ClipFiles:
    """The CLIP of a config: its name in figures; model and pretrained are open_clip's."""

    name: str
    model: str
    pretrained: str | None
    precision: str = "float32"


@dataclass(frozen=True)
class ImageFiles:
    """A data set's images.

    Attributes:
        name: of the data set in the config.
        index: folder of manifest.csv and classes.csv.
        root: folder that the manifest's paths are relative to.
        decoding: keyword arguments of `datasets.decode_image`.
    """

    name: str
    index: Path
    root: Path
    decoding: Mapping


@dataclass(frozen=True)
class SaeFiles:
    """One trained SAE: its folder, its names in tables, and its recipe as a mapping."""

    folder: Path
    name: str
    variant: str
    label: str
    layer: int
    hook: str
    recipe: Mapping = field(default_factory=dict)
