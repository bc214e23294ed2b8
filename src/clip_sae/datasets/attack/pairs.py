"""Attacked pairs, as `copies` writes them: an image with and without a word.

Steering paper §7.2: the typographic latents are those that the word turns on (Table 2).
"""

from pathlib import Path

import pandas as pd

from clip_sae.datasets.listing import DatasetError, Listing, compare_with_disk, require, some

CLEAN, ATTACKED = "clean", "attacked"
ATTACKS_NAME, CLASSES_NAME = "attacks.csv", "classes.csv"
_COLUMNS = ("path", "split", "label", "word")


def load_attacked_pairs(root: Path, options: dict) -> Listing:
    """`attacks.csv` and two images per row of it, `clean/<path>` and `attacked/<path>`.

    `word` of an attacked image is the label of the class whose name is written, of a clean one
    empty. Classes and their prompt names are those of `classes.csv`, in its order.
    """
    require(root, ATTACKS_NAME, CLASSES_NAME)
    attacks = _read(root / ATTACKS_NAME, _COLUMNS)
    classes = _read(root / CLASSES_NAME, ("label", "name"))
    unknown = (set(attacks["label"]) | set(attacks["word"])) - set(classes["label"])
    if unknown:
        raise DatasetError(
            f"{root / ATTACKS_NAME} speaks of the classes {some(sorted(unknown))}, which "
            f"{CLASSES_NAME} does not list. Delete the folder and run snakemake again."
        )
    attacks = attacks[list(_COLUMNS)]
    parts = [
        attacks.assign(path=f"{part}/" + attacks["path"], word=words)
        for part, words in ((CLEAN, ""), (ATTACKED, attacks["word"]))
    ]
    rows = pd.concat(parts, ignore_index=True)
    ignored = compare_with_disk(root, rows["path"], ATTACKS_NAME)
    names = dict(zip(classes["label"], classes["name"], strict=True))
    return Listing(rows, classes["label"].tolist(), names, CLASSES_NAME, ignored=ignored)


def pair_rows(manifest: pd.DataFrame) -> pd.DataFrame:
    """One row per pair whose two images are usable: path, split, and the rows `clean`, `attacked`.

    `manifest`: of a set of attacked pairs, whole or of one split; the rows are labels of its index.
    Raises DatasetError where there is no pair.
    """
    usable = manifest[manifest["status"] == "ok"]
    parts = usable["path"].str.split("/", n=1)
    table = pd.DataFrame(
        {"part": parts.str[0], "path": parts.str[-1], "split": usable["split"], "row": usable.index}
    )
    sides = [
        table[table["part"] == part].rename(columns={"row": part}).drop(columns="part")
        for part in (CLEAN, ATTACKED)
    ]
    pairs = sides[0].merge(sides[1], on=["path", "split"], validate="one_to_one")
    if pairs.empty:
        raise DatasetError(
            "the manifest holds no pair of clean/<path> and attacked/<path>: it is not of a set of "
            "kind attacked_pairs, or none of its images is usable."
        )
    return pairs


def _read(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    missing = [column for column in columns if column not in table]
    if missing:
        raise DatasetError(
            f"{path} lacks the columns {', '.join(missing)}; it has {some(table.columns, 20)}."
        )
    return table
