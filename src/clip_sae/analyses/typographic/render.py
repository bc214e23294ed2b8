"""Table 2 and the two-way table: defences against written words, next to the paper's numbers.

Steering paper Table 2. Fractions stay fractions, as the paper prints them.
"""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from clip_sae.plotting.tables import Column, Layout, both

# defence → name in the table, in its order
DEFENCES = {
    "none": "no defence",
    "dp": "Defence-Prefix (DP)",
    "sae": "SAE",
    "dp+sae": "DP + SAE",
    "dp on sae+sae": "DP trained on ablated features + SAE",
    "neurons": "neurons, same rule",
    "random": "random latents, as many",
    "heads": "attention heads",
    "dp+heads": "DP + attention heads",
}
RANDOM = "random"
SUBSETS = {"all": "all", "attacked": "with a word", "not_attacked": "without a word"}

_KEYS = (Column("dataset", "Set"), Column("images", "Images"), Column("defence", "Defence"))
_COLUMNS = (
    Column("n_images", "n", 0),
    Column("n_units", "Units off", 0),
    Column("accuracy", "Accuracy"),
    Column("gain", "Gain"),
    Column("gain_over_sae", "over the SAE"),
    Column("gain_over_dp", "over DP"),
    Column("text_confusion", "Text confusion"),
    Column("interaction", "Beyond the sum"),
)
_READING = (
    "Gain: accuracy minus that without defence (over the SAE, over DP: minus theirs), on the same "
    "images. Text confusion: share called "
    "what is written on them. Beyond the sum: gain of both minus the gains of each. Random "
    "latents: mean of several sets. Intervals are 95 % bootstrap over n images, paired. {setting}"
)
LAYOUTS = {
    "all_classes": Layout(
        keys=_KEYS,
        columns=_COLUMNS,
        caption="Table 2. Defences against written words: accuracy over all objects and words of "
        f"the set. Ours: {{model}}; the paper's: CLIP-ViT-B/32. {_READING}",
        source="Paper: Joseph et al. 2025, arXiv 2504.08729, Table 2.",
    ),
    "two_way": Layout(
        keys=_KEYS,
        columns=_COLUMNS,
        caption="Defences against written words, two-way: object or word (SCAM's protocol, not "
        f"comparable with Table 2). Model: {{model}}. {_READING}",
        source="Protocol: Westerhoff et al. 2025, SCAM.",
    ),
}


def typographic_table(
    job,
    *,
    csv: Path,
    choice: Path,
    paper: Path | None,
    protocol: str,
    model: str,
    paper_sets: Mapping[str, str],
) -> dict[str, str]:
    """Return {"md", "html"} of one protocol's table.

    Args:
        choice: typographic_choice.csv, for the caption.
        paper_sets: {our data set: the paper's}, for those that the paper has.
    """
    layout = LAYOUTS[protocol].filled(model=model, setting=_setting(pd.read_csv(choice)))
    theirs = None if paper is None else _paper_rows(pd.read_csv(paper), paper_sets)
    return both([(_printed(pd.read_csv(csv)), layout)], theirs)


def _printed(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows in the order of `DEFENCES`, random sets averaged into one row.

    Raises ValueError for a defence without a name.
    """
    is_random = table["defence"].str.fullmatch(rf"{RANDOM}_\d+")
    controls = table[is_random]
    mean = controls.groupby(["dataset", "subset"], sort=False, as_index=False).mean(
        numeric_only=True
    )
    # The intervals of single sets are not the interval of their mean.
    ends = [column for column in mean if column.endswith(("_low", "_high"))]
    mean = mean.drop(columns=ends).assign(defence=RANDOM)
    rows = pd.concat([table[~is_random], mean], ignore_index=True)
    if unknown := sorted(set(rows["defence"]) - DEFENCES.keys()):
        raise ValueError(f"defence {unknown[0]!r} has no name; there are: {', '.join(DEFENCES)}")
    rank = {
        column: {name: i for i, name in enumerate(dict.fromkeys(order))}
        for column, order in (
            ("dataset", table["dataset"]), ("subset", SUBSETS), ("defence", DEFENCES),
        )
    }  # fmt: skip
    rows = rows.sort_values(list(rank), key=lambda column: column.map(rank[column.name]))
    rows = rows.assign(
        images=rows["subset"].map(SUBSETS), defence=rows["defence"].map(DEFENCES)
    ).reset_index(drop=True)
    # The gain of no defence is zero by definition; its cell stays empty.
    gains = [column for column in rows if column.startswith("gain")]
    return rows.assign(**{c: rows[c].where(rows["defence"] != DEFENCES["none"]) for c in gains})


def _paper_rows(paper: pd.DataFrame, sets: Mapping[str, str]) -> pd.DataFrame:
    """Return the paper's rows of all images under our names of sets and defences."""
    parts = [
        paper[paper["paper_set"] == theirs].assign(dataset=ours) for ours, theirs in sets.items()
    ]
    if not parts:
        return pd.DataFrame(columns=["dataset", "images", "defence", "accuracy"])
    rows = pd.concat(parts, ignore_index=True)
    return rows.assign(images=SUBSETS["all"], defence=rows["defence"].map(DEFENCES))


def _setting(choice: pd.DataFrame) -> str:
    """Return a sentence about the choice on validation; `choice` is typographic_choice.csv."""
    chosen = choice[choice["chosen"] & (choice["kind"] == "latents")].iloc[0]
    if not chosen["n_units"]:
        return "Validation chose no latents: none were worth their clean cost."
    return (
        f"Chosen on validation: {chosen['n_units']:.0f} latents of {chosen['label']}, τ = "
        f"{chosen['tau']:.3g}, λ = {chosen['lambda']:.3g}."
    )
