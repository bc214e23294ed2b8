"""Tables 1 and 5 to 8 from the summaries of all layers.

Steering paper: a column per SAE, a row per layer, and the same for random sets and for the base
network's neurons. pandas only.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from clip_sae.analyses.shared.groups import SCORES
from clip_sae.analyses.shared.names import NEURONS
from clip_sae.analyses.suppression.choose import best_on_validation, strict_rows

ENDS = ("", "_low", "_high")
# Kinds of units, in the words and the order of the tables.
PARTS = {
    "latent": "SAE latents",
    "random_latent": "random latents, as many",
    "random_latent_mass": "random latents, of equal mass",
    "neuron_matched": "neurons, as large a share",
    "neuron": "neurons",
    "random_neuron": "random neurons, as many",
    "random_neuron_mass": "random neurons, of equal mass",
}


def condition_rows(
    job, *, summary: Path, condition: str, columns: Sequence[Sequence[str]]
) -> pd.DataFrame:
    """Return one of Tables 5 to 8; `columns` are pairs of a table's column and its SAE."""
    # pandas' default parser may miss the last bit of a number, which would then show here.
    table = pd.read_csv(summary, float_precision="round_trip")
    return condition_table(table, condition, dict(columns))


def compare_suppression(
    job, *, summaries: Mapping[str, Path], columns: Mapping[str, Sequence[Sequence[str]]]
) -> pd.DataFrame:
    """Return Table 1, both arguments by data set; `columns` are pairs of a column and its SAE."""
    return table1(
        {name: pd.read_csv(path) for name, path in summaries.items()},
        {name: dict(pairs) for name, pairs in columns.items()},
    )


def condition_table(
    summary: pd.DataFrame, condition: str, columns: Mapping[str, str]
) -> pd.DataFrame:
    """Return the rows of Tables 5 to 8 for one condition: by part, layer and column.

    Args:
        summary: of one data set, as of `summarise_layer`, all layers.
        columns: {column of the table: SAE}, in the table's order. Neurons belong to no column.

    Adds the columns part (words of PARTS), column ("neurons" for them) and, where the test images
    are a balanced choice, full_overall, full_worst, … and full_n_images: of all test images.
    """
    names = {sae: column for column, sae in columns.items()} | {NEURONS: NEURONS}
    rows = summary[summary["condition"] == condition]
    rows = _with_full(rows[rows["split"] == "test"], rows[rows["split"] == "test_full"])
    rows = rows.assign(column=rows["units"].map(names), part=rows["kind"].map(PARTS))
    order = [*PARTS.values()], [*names.values()]
    rows = rows.assign(
        _part=rows["part"].map(order[0].index), _column=rows["column"].map(order[1].index)
    )
    rows = rows.sort_values(["_part", "_column", "layer"], ignore_index=True)
    front = ["part", "column", "layer"]
    return rows[[*front, *(c for c in rows if c not in front and not c.startswith("_"))]]


def _with_full(rows: pd.DataFrame, full: pd.DataFrame) -> pd.DataFrame:
    if full.empty:
        return rows
    keys = ["layer", "units", "kind"]
    scores = ["overall", "worst", "base_overall", "base_worst", "worst_change"]
    found = [name + end for name in scores for end in ENDS if name + end in full] + ["n_images"]
    full = full[[*keys, *found]].rename(columns={name: f"full_{name}" for name in found})
    return rows.merge(full, on=keys, how="left", validate="one_to_one")


def table1(
    summaries: Mapping[str, pd.DataFrame], columns: Mapping[str, Mapping[str, str]]
) -> pd.DataFrame:
    """Return Table 1: a row "Baseline" and one per layer, for each data set side by side.

    Args:
        summaries: {data set: summary of all its layers}.
        columns: {data set: {column: SAE}}.

    Columns: layer (text), and for each data set <set>_neuron_<score>, <set>_sae_<score> and
    <set>_matched_<score> (overall and worst, with _low and _high; matched: neurons, chosen among
    sets of as large a share as the SAE's), <set>_sae (which one, its direction and threshold),
    <set>_p, <set>_worst_change, <set>_largest_drop, <set>_picked (True for the layer that is best
    on validation).
    """
    layers = sorted({layer for summary in summaries.values() for layer in summary["layer"]})
    table = [{"layer": "Baseline"}, *({"layer": str(layer)} for layer in layers)]
    for name, summary in summaries.items():
        base = summary[summary["split"] == "test"].iloc[0]
        table[0] |= {f"{name}_neuron_{s}": base[f"base_{s}"] for s in ("overall", "worst")}
        saes = list(columns[name].values())
        best = best_on_validation(strict_rows(summary, "latent"), saes)["layer"]
        for row, layer in zip(table[1:], layers, strict=True):
            here = summary[summary["layer"] == layer]
            neuron = strict_rows(here, "neuron")
            if len(neuron):
                row |= _cells(f"{name}_neuron", neuron.iloc[0])
            sae = best_on_validation(strict_rows(here, "latent"), saes)
            if sae is None:
                continue
            row |= _cells(f"{name}_sae", sae)
            matched = strict_rows(here, "neuron_matched")
            for _, other in matched[matched["units"] == sae["units"]].iterrows():
                row |= _cells(f"{name}_matched", other)
            row |= {f"{name}_sae": _described(sae, columns[name]), f"{name}_p": sae["p"]}
            row |= {f"{name}_worst_change{e}": sae[f"worst_change{e}"] for e in ENDS}
            row |= {f"{name}_largest_drop": sae["largest_drop"]}
        for row in table:
            row[f"{name}_picked"] = row["layer"] == str(best)
    return pd.DataFrame(table)


def _cells(prefix: str, row: pd.Series) -> dict[str, float]:
    return {
        f"{prefix}_{score}{end}": row[f"{score}{end}"]
        for score in SCORES
        if score in ("overall", "worst")
        for end in ENDS
    }


def _described(row: pd.Series, columns: Mapping[str, str]) -> str:
    [column] = [column for column, sae in columns.items() if sae == row["units"]]
    if row["n_units"] == 0:
        return f"{column}, none"
    side = {"a": "A", "not_a": "not A", "both": "both"}[row["direction"]]
    return f"{column}, {side}, tau {row['tau_high']:.2g}, {row['n_units']:.0f} latents"
