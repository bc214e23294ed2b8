"""Waterbirds: birds on the wrong background (§7.1; Tables 1, 7 and 8)."""

from pathlib import Path

from clip_sae.datasets.listing import (
    Listing,
    compare_with_disk,
    read_table,
    require,
    require_values,
    rows_of,
)
from clip_sae.planning.inputs import SPLITS
from clip_sae.planning.kinds import Expected, kind

LABELS = ("landbird", "waterbird")
SAGAWA = Expected(  # Sagawa et al. 2020; groups 2·waterbird + water
    splits={"train": 4_795, "val": 1_199, "test": 5_794},
    groups={
        "train": (3498, 184, 56, 1057),
        "val": (467, 466, 133, 133),
        "test": (2255, 2255, 642, 642),
    },
)


@kind(
    "waterbirds",
    layout="`metadata.csv` and the folders of the species",
    published={"waterbirds": SAGAWA},
)
def load_waterbirds(root: Path, options: dict) -> Listing:
    """Waterbirds (Sagawa et al. 2020): landbird or waterbird, on land or on water.

    `metadata.csv` has y (1 = waterbird), place (1 = water) and split (0, 1, 2). attr_water is the
    background; groups are 2·y + place.
    """
    source = "metadata.csv"
    require(root, source)
    table = read_table(root / source, ("img_filename", "y", "split", "place"))
    for column, values in (("y", (0, 1)), ("place", (0, 1)), ("split", (0, 1, 2))):
        require_values(table[column], values, f"{source}, column {column}")
    rows = rows_of(
        table["img_filename"].tolist(),
        [SPLITS[number] for number in table["split"]],
        [LABELS[number] for number in table["y"]],
        attr_water=table["place"].tolist(),
    )
    ignored = compare_with_disk(root, rows["path"], source)
    groups = 2 * table["y"] + table["place"]
    return Listing(rows, [*LABELS], published="waterbirds", groups=groups, ignored=ignored)
