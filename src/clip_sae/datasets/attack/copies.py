"""An attacked copy of a data set on disk: each image twice, as it is and with a word on it.

Steering paper §7.2.1 (D_T̄ and D_T). Only the letters differ within a pair, so the word
alone causes the difference of the activations.

    <root>/clean/<path in the source>      what CLIP sees: resized, cropped, PNG
    <root>/attacked/<path in the source>   the same with another class's name on it
    <root>/attacks.csv                     one row per pair: the word, its look and its box
    <root>/classes.csv                     label and prompt name of each class of the source

The suffix .png is added to paths without it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from clip_sae.datasets.attack.lettered import attack_image, attack_rng
from clip_sae.datasets.images import decode_image
from clip_sae.datasets.kinds.attacked_pairs import ATTACKS_NAME, CLASSES_NAME
from clip_sae.datasets.listing import ATTACKED, CLEAN
from clip_sae.datasets.writing import draw_all, save_image, staged_folder, write_csv


@dataclass(frozen=True)
class _Pair:
    folder: Path
    data_root: Path
    path: str
    split: str
    label_idx: int
    labels: tuple[str, ...]
    names: tuple[str, ...]
    seed: int
    font_size: tuple[float, float]
    decoding: tuple[tuple[str, object], ...]


def write_pairs(
    root: Path,
    manifest: pd.DataFrame,
    classes: pd.DataFrame,
    data_root: Path,
    *,
    splits: Mapping[str, int | None],
    seed: int,
    font_size: tuple[float, float],
    decoding: Mapping[str, object],
    workers: int = 1,
    progress: bool = True,
) -> int:
    """Write the folder `root`, whole or not at all; return the number of pairs.

    Args:
        manifest, classes: of the source data set, from `read_manifest` and `read_classes`; images
            with another status than "ok" are left out.
        data_root: the folder that the manifest's paths are relative to.
        splits: the splits to copy, and how many images of each at most (None: all). Fewer than all
            are a random sample, seeded.
        decoding: `image_size`, `preprocess`, `exif` and `max_pixels` of `decode_image`.

    Raises ValueError for a split without images.
    """
    labels, names = tuple(classes["label"]), tuple(classes["name"])
    rows = pd.concat([_sample(manifest, split, n, seed) for split, n in sorted(splits.items())])
    with staged_folder(Path(root)) as folder:
        pairs = [
            _Pair(
                *(folder, Path(data_root), row.path, row.split, row.label_idx, labels, names),
                *(seed, tuple(font_size), tuple(decoding.items())),
            )
            for row in rows.itertuples()
        ]
        for part in (CLEAN, ATTACKED):
            for parent in {Path(pair.path).parent for pair in pairs}:
                (folder / part / parent).mkdir(parents=True, exist_ok=True)
        attacks = draw_all(_write_pair, pairs, workers=workers, progress=progress, name="attacks")
        write_csv(folder / ATTACKS_NAME, attacks)
        write_csv(folder / CLASSES_NAME, classes[["label", "name"]].to_dict("records"))
    return len(attacks)


def _sample(manifest: pd.DataFrame, split: str, n: int | None, seed: int) -> pd.DataFrame:
    rows = manifest[(manifest["split"] == split) & (manifest["status"] == "ok")]
    if rows.empty:
        found = ", ".join(sorted(set(manifest["split"]))) or "none"
        raise ValueError(f"the source has no usable image of split {split!r}; it has: {found}.")
    if n is None or n >= len(rows):
        return rows
    chosen = np.random.default_rng(seed).permutation(len(rows))[:n]
    return rows.iloc[np.sort(chosen)]


def _write_pair(pair: _Pair) -> dict[str, object]:
    pixels = decode_image(pair.data_root / pair.path, **dict(pair.decoding))
    rng = attack_rng(pair.seed, pair.path)
    written, attack = attack_image(
        pixels, pair.label_idx, pair.names, rng, font_size=pair.font_size
    )
    name = pair.path if pair.path.endswith(".png") else f"{pair.path}.png"
    save_image(pair.folder / CLEAN / name, pixels)
    save_image(pair.folder / ATTACKED / name, written)
    box = dict(zip(("left", "top", "right", "bottom"), attack.box, strict=True))
    return {
        "path": name,
        "split": pair.split,
        "label": pair.labels[pair.label_idx],
        "word": pair.labels[attack.label_idx],
        "text": attack.text,
        "font": attack.font,
        "size": attack.size,
        "colour": attack.colour,
        "outline": attack.outline,
        **box,
    }
