"""The sets that validation chose: their test numbers with intervals, next to their controls.

Steering paper Tables 5 and 6 (CelebA), 7 and 8 (Waterbirds), a row per cell. pandas and NumPy only.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from clip_sae.analyses.shared.groups import SCORES, Scores, count_correct
from clip_sae.analyses.shared.names import CONDITIONS
from clip_sae.analyses.suppression.answer_bits import Bits, read_bits
from clip_sae.analyses.suppression.choose import CHOSEN, accuracies
from clip_sae.analyses.suppression.intervals import change_intervals, mcnemar, score_intervals

_ABOUT = (
    *("layer", "units", "direction", "contrast", "tokens", "fill", "tau_low", "tau_high"),
    *("n_units", "n_all", "mass"),
)


def choose_suppression(job, *, layers: Sequence[Path], resamples: int, seed: int) -> pd.DataFrame:
    """Return the rows of `summarise_layer` for the folders of all layers of one data set."""
    return summary_of(layers, n_resamples=resamples, seed=seed)


def summary_of(folders: Sequence[Path], **options: int) -> pd.DataFrame:
    """Return the summaries of some evaluated layers in one table.

    Args:
        folders: with rows.csv, chosen.csv and bits.npz; options: of `summarise_layer`.
    """
    parts = [
        summarise_layer(
            pd.read_csv(folder / "rows.csv"),
            pd.read_csv(folder / "chosen.csv"),
            read_bits(folder / "bits.npz"),
            **options,
        )
        for folder in folders
    ]
    return pd.concat(parts, ignore_index=True)


def summarise_layer(
    rows: pd.DataFrame,
    chosen: pd.DataFrame,
    bits: Bits,
    *,
    n_resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Return a row per chosen set and control: kind of units, condition and test split.

    Args:
        rows, chosen, bits: of one layer, as of `evaluate_layer`.

    Columns: layer, units, kind, condition, direction, contrast, tokens, fill, tau_low, tau_high,
    n_units, n_all, mass, n_seeds (of a random control, else 0); val_overall, val_worst; split;
    n_images; for each score of overall, group_mean, adjusted and worst: itself, _low and _high
    (95 % bootstrap within groups; for random sets the mean, the least and the greatest seed), base_
    (the model as it is), _change, _change_low and _change_high (paired); worst_group (the
    baseline's worst group on this split), n_worst, lost, gained and p (McNemar on that group),
    largest_drop (of any other group). NaN where a random control has no such number.
    """
    sets = {(row.units, row.kind, row.condition): row.set for row in chosen.itertuples()}
    found = []
    for (name, kind), grid in rows[rows["kind"].isin(CHOSEN)].groupby(
        ["units", "kind"], sort=False
    ):
        controls = rows[(rows["units"] == name) & rows["kind"].isin(_controls_of(kind))]
        for split in (split for split in grid["split"].unique() if split != "val"):
            compare_with_base = _Comparison(grid, bits, split, n_resamples, seed)
            for condition in CONDITIONS:
                number = sets[name, kind, condition]
                [[val], [test]] = (_rows(grid[grid["set"] == number], s) for s in ("val", split))
                about = {"condition": condition, "split": split}
                scores = {"val_overall": val["overall"], "val_worst": val["worst"]}
                found.append({**about, **scores, **compare_with_base.row(test)})
                own = controls[controls["matches"] == number]
                for _, random in own[own["split"] == split].groupby("kind", sort=False):
                    found.append({**about, **compare_with_base.random(random)})
    return pd.DataFrame(found)


def _controls_of(kind: str) -> tuple[str, str]:
    return f"random_{kind}", f"random_{kind}_mass"


def _rows(rows: pd.DataFrame, split: str) -> Sequence[pd.Series]:
    return [row for _, row in rows[rows["split"] == split].iterrows()]


def compare(
    before: np.ndarray,
    after: np.ndarray,
    group: np.ndarray,
    train: np.ndarray,
    *,
    n_resamples: int = 2000,
    seed: int = 0,
) -> dict:
    """Return the columns of `summarise_layer` from n_images on, for right answers [image] bool.

    Args:
        before, after: of the model as it is, and after an edit.
        group: [image] 0…3; train: [group] training images.
    """
    options = {"n_resamples": n_resamples, "seed": seed}
    total = np.bincount(group, minlength=len(train))
    base, scores = (Scores(count_correct(bits, group), total, train) for bits in (before, after))
    worst = int(base.accuracy.argmin())
    intervals = score_intervals(scores, **options)
    changes = change_intervals(before, after, group, train, **options)
    found = {"n_images": len(group), "worst_group": worst, "n_worst": int(total[worst])}
    for name in SCORES:
        low, high = intervals[name]
        found |= {name: float(getattr(scores, name)), f"{name}_low": low, f"{name}_high": high}
        found |= {f"base_{name}": float(getattr(base, name))}
        change = dict(zip(("", "_low", "_high"), changes[name], strict=True))
        found |= {f"{name}_change{end}": value for end, value in change.items()}
    target = group == worst
    lost, gained, p = mcnemar(before[target], after[target])
    drops = np.delete(base.accuracy - scores.accuracy, worst)
    return found | {"lost": lost, "gained": gained, "p": p, "largest_drop": float(drops.max())}


class _Comparison:
    """Sets compared with the model as it is, on one split."""

    def __init__(self, grid: pd.DataFrame, bits: Bits, split: str, n_resamples: int, seed: int):
        [self.base] = _rows(grid[grid["n_units"] == 0], split)
        self.right, self.group, self.train = bits.right[split], bits.group[split], bits.train
        self.options = {"n_resamples": n_resamples, "seed": seed}
        self.total = np.bincount(self.group, minlength=len(self.train))
        self.worst_group = int(accuracies(self.base.to_frame().T)[0].argmin())

    def row(self, row: pd.Series) -> dict:
        """Return the columns of one set."""
        found = {"kind": row["kind"], **{name: row[name] for name in _ABOUT}, "n_seeds": 0}
        before, after = self.right[self.base["bits"]], self.right[row["bits"]]
        return found | compare(before, after, self.group, self.train, **self.options)

    def random(self, rows: pd.DataFrame) -> dict:
        """Return the columns of one control over its seeds."""
        first = rows.iloc[0]
        found = {"kind": first["kind"], **{name: first[name] for name in _ABOUT}}
        found |= {"n_units": rows["n_units"].mean(), "mass": rows["mass"].mean()}
        found |= {"n_seeds": len(rows), "n_images": first["n_images"]}
        found |= {"worst_group": self.worst_group, "n_worst": int(self.total[self.worst_group])}
        for name in SCORES:
            found |= {name: rows[name].mean(), f"{name}_low": rows[name].min()}
            found |= {f"{name}_high": rows[name].max(), f"base_{name}": self.base[name]}
            found |= {f"{name}_change": rows[name].mean() - self.base[name]}
        return found
