"""The table of all data sets; a separate module, so that its code digest is small."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from clip_sae.planning.artefacts import COMPLETE
from clip_sae.planning.specs import read_json


def summarise_datasets(job, *, datasets: Mapping[str, Path]) -> pd.DataFrame:
    """Return one row per data set: images per split, classes, skipped images."""
    rows = []
    for name, folder in datasets.items():
        summary = read_json(folder / COMPLETE)["summary"]
        splits = {
            f"n_{split}": summary["splits"].get(split, 0) for split in ("train", "val", "test")
        }
        kept = {key: summary[key] for key in ("kind", "n_images", "n_classes", "n_skipped")}
        rows.append({"dataset": name, **kept, **splits})
        if summary["n_skipped"]:
            job.log.warning(
                "%s: %d images skipped, e.g. %s",
                *(name, summary["n_skipped"], "; ".join(summary["skipped"][:3])),
            )
    return pd.DataFrame(rows)
