"""Sums of latents and neurons between the job that makes them and those that read them."""

import io
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import numpy as np

from clip_sae.analyses.concepts.sums import UnitSums
from clip_sae.specs import write_bytes


def write_sums(path: Path, found: Mapping[str, UnitSums]) -> None:
    """Write {kind: sums} as one .npz."""
    buffer = io.BytesIO()
    arrays = {
        f"{kind}|{field.name}": getattr(sums, field.name)
        for kind, sums in found.items()
        for field in fields(UnitSums)
    }
    np.savez_compressed(buffer, **arrays)
    write_bytes(path, buffer.getvalue())


def read_sums(path: Path) -> dict[str, UnitSums]:
    """Read what `write_sums` wrote."""
    with np.load(path, allow_pickle=False) as arrays:
        kinds = dict.fromkeys(key.split("|")[0] for key in arrays.files)
        return {
            kind: UnitSums(**{f.name: arrays[f"{kind}|{f.name}"] for f in fields(UnitSums)})
            for kind in kinds
        }
