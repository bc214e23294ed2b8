"""Which images were answered rightly, one bit each: what paired tests and intervals are made from.

Steering paper Tables 1 and 5 to 8; a change of a few images out of 180 needs its pairs. NumPy only.
"""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clip_sae.npz import read_arrays
from clip_sae.specs import write_bytes


@dataclass(frozen=True)
class Bits:
    """Answers of one run.

    Attributes:
        right: {split: [bits, image] bool}; `bits` is the number in a table's column of that name.
        images: {split: [image] manifest row}.
        group: {split: [image] 0…3}.
        train: [group] training images, for the adjusted accuracy.
    """

    right: dict[str, np.ndarray]
    images: dict[str, np.ndarray]
    group: dict[str, np.ndarray]
    train: np.ndarray


def write_bits(path: Path, bits: Bits) -> None:
    """Write them as one .npz, eight answers to the byte."""
    arrays = {"train": bits.train}
    for split, right in bits.right.items():
        arrays[f"{split}|right"] = np.packbits(right, axis=1)
        arrays[f"{split}|images"] = bits.images[split]
        arrays[f"{split}|group"] = bits.group[split].astype(np.int8)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_bytes(Path(path), buffer.getvalue())


def read_bits(path: Path) -> Bits:
    """Read what `write_bits` wrote."""
    arrays = read_arrays(path)
    splits = dict.fromkeys(name.split("|")[0] for name in arrays if "|" in name)
    images = {split: arrays[f"{split}|images"] for split in splits}
    right = {
        split: np.unpackbits(arrays[f"{split}|right"], axis=1, count=len(rows)).astype(bool)
        for split, rows in images.items()
    }
    group = {split: arrays[f"{split}|group"].astype(np.int64) for split in splits}
    return Bits(right, images, group, arrays["train"])
