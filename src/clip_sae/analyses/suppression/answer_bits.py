"""Right and wrong answers, one bit per image, for paired tests and intervals.

Steering paper Tables 1 and 5 to 8; a change of a few images out of 180 needs a
paired test. NumPy only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from clip_sae.npz import read_arrays, write_arrays


def pack(right: np.ndarray) -> np.ndarray:
    """Return [bits, image] bool as [bits, byte] uint8, eight answers to the byte."""
    return np.packbits(right, axis=1)


@dataclass(frozen=True)
class Bits:
    """Answers of one run.

    Attributes:
        packed: {split: [bits, byte] uint8} of `pack`; `bits` is the number in a table's column of
            that name.
        images: {split: [image] manifest row}.
        group: {split: [image] 0…3}.
        train: [group] training images, for the adjusted accuracy.
    """

    packed: Mapping[str, np.ndarray]
    images: Mapping[str, np.ndarray]
    group: Mapping[str, np.ndarray]
    train: np.ndarray

    @cached_property
    def right(self) -> dict[str, np.ndarray]:
        """{split: [bits, image] bool}."""
        return {
            split: np.unpackbits(packed, axis=1, count=len(self.images[split])).astype(bool)
            for split, packed in self.packed.items()
        }


def write_bits(path: Path, bits: Bits) -> None:
    """Write them as one .npz."""
    arrays = {"train": bits.train}
    for split, packed in bits.packed.items():
        arrays[f"{split}|right"] = packed
        arrays[f"{split}|images"] = bits.images[split]
        arrays[f"{split}|group"] = bits.group[split].astype(np.int8)
    write_arrays(path, arrays)


def read_bits(path: Path) -> Bits:
    """Read what `write_bits` wrote."""
    arrays = read_arrays(path)
    splits = dict.fromkeys(name.split("|")[0] for name in arrays if "|" in name)
    packed, images, group = (
        {split: arrays[f"{split}|{name}"] for split in splits}
        for name in ("right", "images", "group")
    )
    group = {split: values.astype(np.int64) for split, values in group.items()}
    return Bits(packed, images, group, arrays["train"])
