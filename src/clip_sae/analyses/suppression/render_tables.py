"""Tables 1 and 5 to 8 as Markdown and HTML, the paper's cells beside ours; and what lies beyond.

Steering paper §7.1. Tables come from `clip_sae.analyses.suppression`.
"""

from collections.abc import Sequence

import pandas as pd

from clip_sae.plotting.tables import Column, Layout

_PERCENT = {"digits": 2, "scale": 100}
_HOW = (
    "Accuracies in percent; [95 % bootstrap interval, images resampled within each group]; of "
    "random sets the mean [least, greatest] over {n_seeds} seeds."
)
_CHANGES = (
    Column("worst_change", "Worst, change", **_PERCENT),
    Column("lost", "lost", 0),
    Column("gained", "gained", 0),
    Column("p", "McNemar p", 4),
    Column("largest_drop", "largest drop of another group", **_PERCENT),
)
_SCORES = (Column("overall", "Overall", **_PERCENT), Column("worst", "Worst", **_PERCENT))
_FULL = (
    Column("full_overall", "Overall, all test images", **_PERCENT),
    Column("full_worst", "Worst, all test images", **_PERCENT),
    Column("full_worst_change", "change there", **_PERCENT),
)
SOURCE = "Paper: Joseph et al. 2025, arXiv 2504.08729, Table {number}."
RULES = {
    "strict": "the highest worst-group accuracy with neither it nor the overall one below the "
    "baseline's",
    "relaxed": "the highest worst-group accuracy with no other group losing more than {points:g} "
    "points",
}


def condition_layout(
    table: pd.DataFrame, name: str, condition: str, *, dataset: str, model: str, points: float
) -> Layout:
    """Return the layout of one of Tables 5 to 8.

    Args:
        table: as of `condition_table`; name: its file name, e.g. "table5".
    """
    first = table.iloc[0]
    caption = (
        f"{_title(name)}. {dataset}, {condition} condition: "
        f"{RULES[condition].format(points=100 * points)}, chosen on validation. Ours: {model}, "
        f"{int(first['n_images']):,} test images, {int(first['n_worst'])} in the worst group; "
        f"nothing taken out: overall {100 * first['base_overall']:.2f}, worst group "
        f"{100 * first['base_worst']:.2f}. The paper's: CLIP-ViT-B/32. "
        + _HOW.format(n_seeds=_seeds(table))
        + " McNemar's exact test on the baseline's worst test group."
        + _full_sentence(first)
    )
    return Layout(
        keys=(Column("part", "taken out"), Column("column", "SAE"), Column("layer", "Layer", 0)),
        columns=(
            Column("direction", "side"),
            Column("tau_high", "tau", 4),
            Column("n_units", "units", 0),
            Column("val_worst", "Worst on validation", **_PERCENT),
            *_SCORES,
            *_CHANGES,
            *(_FULL if "full_worst" in table else ()),
        ),
        caption=caption,
        source=_source(name),
    )


def _seeds(table: pd.DataFrame) -> str:
    """How many draws the random sets had: not each order of units reaches an equal mass."""
    drawn = table.loc[table["n_seeds"] > 0, "n_seeds"]
    low, high = (int(drawn.min()), int(drawn.max())) if len(drawn) else (0, 0)
    return f"{high}" if low == high else f"{low} to {high}"


def _full_sentence(row: pd.Series) -> str:
    if "full_base_worst" not in row or pd.isna(row["full_base_worst"]):
        return ""
    return (
        f" All {int(row['full_n_images']):,} test images, nothing taken out: overall "
        f"{100 * row['full_base_overall']:.2f}, worst group {100 * row['full_base_worst']:.2f}."
    )


_TABLE1_KINDS = (
    ("neuron", "neurons"),
    ("sae", "SAE"),
    ("matched", "neurons of as large a share"),
)


def table1_layout(sets: Sequence[str], *, model: str) -> Layout:
    """Return the layout of Table 1; `sets` are the data sets, side by side."""
    columns = []
    for name in sets:
        for kind, words in _TABLE1_KINDS:
            columns += [
                Column(f"{name}_{kind}_{score}", f"{name}, {words}: {score}", **_PERCENT)
                for score in ("overall", "worst")
            ]
        columns += [
            Column(f"{name}_worst_change", f"{name}, SAE: worst, change", **_PERCENT),
            Column(f"{name}_p", f"{name}: p", 4),
            Column(f"{name}_largest_drop", f"{name}: largest drop of another group", **_PERCENT),
            Column(f"{name}_sae", f"{name}: chosen"),
        ]
    caption = (
        "Table 1. Sets taken out under the strict condition. Per layer the SAE that is best on "
        "validation (the paper picked on test); * is the layer that is best on validation. "
        "Neurons: by the same thresholds, as the paper's, and chosen among sets of as large a "
        f"share of all neurons as the SAE's sets are of its latents. Ours: {model}; the paper's: "
        "CLIP-ViT-B/32. Accuracies in percent [95 % bootstrap interval, images resampled within "
        "each group]; change of the worst group, whichever it is; p: McNemar's exact test on the "
        "baseline's worst test group alone, SAE against nothing taken out."
    )
    return Layout((Column("layer", "Layer"),), tuple(columns), caption, SOURCE.format(number=1))


def table1_cells(table: pd.DataFrame, sets: Sequence[str]) -> pd.DataFrame:
    """Return Table 1 as it is printed: layers as text, the picked layer with a star."""
    table = table.assign(layer=table["layer"].astype(str))
    for name in sets:
        star = table[f"{name}_picked"].map({True: " *", False: ""})
        table[f"{name}_sae"] = table[f"{name}_sae"].str.cat(star)
    return table


def text_layout(dataset: str, *, model: str, template: str) -> Layout:
    """Return the layout of the text-side baselines of one data set."""
    return Layout(
        keys=(Column("method", "Method"),),
        columns=(
            Column("weight", "weight", 0),
            Column("val_worst", "Worst on validation", **_PERCENT),
            *_SCORES,
            Column("group_mean", "Group mean", **_PERCENT),
            Column("adjusted", "Adjusted", **_PERCENT),
            *_CHANGES,
        ),
        caption=(
            f"{dataset}: edits of the text embeddings instead of the residual. Ours: {model}, "
            f"prompt {template!r}; weights chosen on validation. Accuracies in percent [95 % "
            "bootstrap interval, images resampled within each group]. Projection: what is left "
            "outside the span of the background prompts; calibration: a ridge map that equalises "
            "pairs which differ in the background; roboshot: harmful directions removed from the "
            "images, helpful ones added."
        ),
        source="Chuang et al. 2023, arXiv 2302.00070; Adila et al. 2023, arXiv 2309.04344.",
    )


def prompt_layout(dataset: str, *, model: str, chosen: str, template: str) -> Layout:
    """Return the layout of the prompt sweep of one data set."""
    return Layout(
        keys=(Column("template", "Prompt"), Column("names", "Names")),
        columns=(
            Column("base_overall", "Overall, as it is", **_PERCENT),
            Column("base_worst", "Worst, as it is", **_PERCENT),
            Column("overall", "Overall, taken out", **_PERCENT),
            Column("worst", "Worst, taken out", **_PERCENT),
            *_CHANGES,
        ),
        caption=(
            f"{dataset} under other prompts: {model} as it is, and without the set of Table 1 "
            f"({chosen}), which was chosen under the prompt {template!r}. Accuracies in percent "
            "[95 % bootstrap interval, images resampled within each group]."
        ),
        source="The paper names no prompt.",
    )


def variant_layout(dataset: str, *, model: str, column: str) -> Layout:
    """Return the layout of the other readings of Eq. 9 of one data set."""
    return Layout(
        keys=(Column("case", "Case"), Column("condition", "Condition")),
        columns=(
            Column("kind", "taken out"),
            Column("where", "Layer"),
            Column("direction", "side"),
            Column("n_units", "units", 0),
            Column("val_worst", "Worst on validation", **_PERCENT),
            *_SCORES,
            *_CHANGES,
        ),
        caption=(
            f"{dataset}: other readings of Eq. 9, SAE {column}, {model}; of each case the layer "
            "that is best on validation. Accuracies in percent [95 % bootstrap interval, images "
            "resampled within each group]."
        ),
        source="Beyond the paper.",
    )


def printable(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table as it is printed: small p as "<0.0001", no threshold for the empty set."""
    for name in [c for c in table if c == "p" or c.endswith("_p")]:
        small = table[name] < 0.0001
        table = table.assign(**{name: table[name].astype(object).mask(small, "<0.0001")})
    if "tau_high" in table:
        table = table.assign(tau_high=table["tau_high"].where(table["n_units"] > 0))
    return table


def _title(name: str) -> str:
    return name.replace("table", "Table ") if name.startswith("table") else name


def _source(name: str) -> str:
    number = name.removeprefix("table")
    return SOURCE.format(number=number) if number.isdigit() else "Beyond the paper."
