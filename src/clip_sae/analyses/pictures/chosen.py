"""What Figs 1, 2, 3 and 10 show: which set, which of its units, and which image.

Steering paper §7.1 and App. 12. The set is the one that validation prefers among those that are not
empty; its units are those with the largest gap (Eq. 9); the image is one whose answer the set
changes. NumPy and pandas only.
"""

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd

from clip_sae.analyses.shared.names import CONDITIONS

SIDES = ("a", "not_a")  # stronger with the attribute, stronger without it


def pictured_set(summary: pd.DataFrame, labels: Collection[str]) -> pd.Series | None:
    """Return the row of the set of latents that pictures are of; None where all sets are empty.

    The strict condition's set of the layer and SAE that are best on validation; if it chose
    nothing anywhere, the relaxed one's.

    Args:
        summary: of one data set, as of `summarise_layer`, all layers.
        labels: of the SAEs that the set's tables have.
    """
    rows = summary[
        (summary["kind"] == "latent")
        & (summary["split"] == "test")
        & (summary["n_units"] > 0)
        & summary["units"].isin(list(labels))
    ]
    for condition in CONDITIONS:
        found = rows[rows["condition"] == condition]
        if len(found):
            order = ["val_worst", "val_overall", "layer"]
            ranked = found.sort_values(order, ascending=[False, False, True], kind="stable")
            return ranked.iloc[0]
    return None


def largest_by_side(gap: np.ndarray, units: np.ndarray, n: int) -> dict[str, np.ndarray]:
    """Return up to `n` of `units` on either side of the gap, the largest gaps first.

    Args:
        gap: [unit], of all units, as of `Contrast.gap`.
    """
    units = np.asarray(units, dtype=np.int64)
    found = {}
    for side, sign in zip(SIDES, (1, -1), strict=True):
        score = sign * gap[units]
        order = np.argsort(-score, kind="stable")
        found[side] = units[order[score[order] > 0][:n]]
    return found


def shown_rows(
    units: Sequence[int],
    gap: np.ndarray,
    in_set: Collection[int],
    row: np.ndarray,
    value: np.ndarray,
    n_active: np.ndarray,
) -> pd.DataFrame:
    """Return a table with a row per unit and image: unit, gap, in_set, n_active, place, row, value.

    Args:
        units: in the order in which they are shown.
        gap, n_active: [unit]; row, value: [unit, place], of all units, as in `TopImages`.
        in_set: the units that the ablation takes out.
    """
    rows = [
        {
            "unit": int(unit),
            "gap": float(gap[unit]),
            "in_set": int(unit) in in_set,
            "n_active": int(n_active[unit]),
            "place": place,
            "row": int(row[unit, place]),
            "value": float(value[unit, place]),
        }
        for unit in units
        for place in range(row.shape[1])
        if row[unit, place] >= 0
    ]
    columns = ["unit", "gap", "in_set", "n_active", "place", "row", "value"]
    return pd.DataFrame(rows, columns=columns)


def example_image(
    before: np.ndarray, after: np.ndarray, label: np.ndarray, allowed: np.ndarray | None = None
) -> int:
    """Return the image that shows best what the edit does.

    Among images answered wrongly before and rightly after it, the one whose true class rises most;
    where there is none, the one whose true class rises most of all.

    Args:
        before, after: class probabilities [image, class].
        label: true class [image].
        allowed: [image] bool, images that may be shown; None: all.
    """
    allowed = np.ones(len(label), dtype=bool) if allowed is None else allowed
    if not allowed.any():
        raise ValueError("no image may be shown; give the group or split that has some.")
    true = np.arange(len(label)), label
    rise = after[true] - before[true]
    mended = allowed & (before.argmax(1) != label) & (after.argmax(1) == label)
    return int(np.argmax(np.where(mended if mended.any() else allowed, rise, -np.inf)))


def strongest_units(values: np.ndarray, units: np.ndarray, n: int) -> np.ndarray:
    """Return up to `n` of `units` that are most active on one image, by their mean over tokens.

    Args:
        values: [token, unit], of all units, on the image. Units that are 0 on it are left out.
    """
    units = np.asarray(units, dtype=np.int64)
    mean = values[:, units].mean(0)
    order = np.argsort(-mean, kind="stable")
    return units[order[mean[order] > 0][:n]]


def top_classes(probability: np.ndarray, names: Sequence[str], n: int) -> list[list]:
    """Return [[name, probability]] of the `n` most probable classes of one image.

    Args:
        probability: [class].
    """
    order = np.argsort(-probability, kind="stable")[:n]
    return [[names[c], float(probability[c])] for c in order]


def example_row(manifest: pd.DataFrame, path: str, rows: np.ndarray) -> np.ndarray:
    """Return the manifest rows among `rows` whose image is `path`, which the config asks for.

    Raises ValueError where there is none.
    """
    found = manifest.index[manifest["path"] == path].intersection(rows)
    if not len(found):
        some = manifest.loc[rows[:1], "path"].iloc[0]
        raise ValueError(
            f"{path!r} is no image of the split that is shown. Write a path as in manifest.csv "
            f"under analyses.pictures.examples, e.g. {some!r}."
        )
    return found.to_numpy(dtype=np.int64)
