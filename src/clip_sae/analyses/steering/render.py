"""Steerability by layer: Eqs 6-8 with intervals, over thresholds, and next to its limit.

Steering paper, Section 6.1.2. Three tables on one page, the paper's few numbers as rows below ours.
"""

import math
from pathlib import Path

import pandas as pd

from clip_sae.analyses.steering.draw_shared import (
    KINDS,
    PERFECT,
    kinds_of,
    reading,
    strength_name,
)
from clip_sae.plotting.tables import MISSING, Column, Layout, both, percent

# (column, quantity, its strength, its threshold or None)
Cells = list[tuple[Column, str, float, float | None]]
SOURCE = (
    "Paper: Joseph et al. 2025, arXiv 2504.08729, Sections 6.2.2 and 6.2.3, CLIP-ViT-B/32, 5,000 "
    "words; ≈ marks what it gives as about. By its code, it counts the words of image 0 alone."
)
MEASURES = (
    "Steerability by layer, {strength}. {where}. Intervals: 95 % bootstrap over images, for one "
    "SAE seed. S as printed (the mean of squares) keeps what differs between images; the floor is "
    "what a unit scores that only erases the clean prediction, and where it nears a threshold, "
    "passing that threshold says little."
)
THRESHOLDS = (
    "Steerable share (Eq. 7) and words reached (Eq. 8) over thresholds. {where}, {strength}."
)
ASYMPTOTE = (
    "How final {strength} is. {where}. The limit is the embedding of the unit's direction alone, "
    "which no image changes. D_f (Eq. 11) is a distance from the mean word, of length "
    "‖μ_V‖ = {length}; the paper justifies it for ‖μ_V‖ ≈ 0."
)
# quantity → header, if it was measured
CORRELATIONS = {
    "d_f_rank_correlation": "rank correlation of S with D_f",
    "d_f_authors_rank_correlation": "with D_f, authors' form",
    "dispersion_own_rank_correlation": "with the spread around its own centroid",
}


def steerability_layers(
    job,
    *,
    layers: Path,
    paper: Path,
    strength: float,
    gamma: float,
    model: str,
    vocabulary: str,
    sampling: str,
) -> dict[str, str]:
    """Return {"md", "html"} of the measures, the thresholds and the asymptote.

    Args:
        paper: resources/paper/steering.csv.
        model, vocabulary, sampling: for the captions; sampling is how images were chosen.
    """
    table = pd.read_csv(layers)
    n_images, n_words = int(table.n_images.iloc[0]), int(table.n_words.iloc[0])
    images = f"{n_images:,} images ({sampling.replace('_', ' ')})"
    mean_word = table[table.quantity == "mu_v_norm"].value
    facts = {
        "strength": strength_name(strength),
        "where": f"{model}, {vocabulary}, {n_words:,} words, {images}",
        "length": MISSING if mean_word.empty else f"{mean_word.iloc[0]:.2f}",
    }
    alive = (Column("n_alive", "alive", 0),)
    parts = []
    for caption, cells, sizes, theirs, source in (
        (MEASURES, _measures(strength, gamma), alive, pd.read_csv(paper), SOURCE),
        (THRESHOLDS, _thresholds(table, strength), (), None, ""),
        (ASYMPTOTE, _asymptote(table, strength, gamma), (), None, ""),
    ):
        layout = Layout(
            keys=(Column("layer", "Layer", 0), Column("units", "Units")),
            columns=(Column("n", "n units"), *sizes, *(column for column, *_ in cells)),
            caption=caption.format(**facts),
            source=source,
        )
        parts.append((_rows(table, cells, theirs, strength), layout))
    return both(parts, title="Steerability by layer")


def _measures(strength: float, gamma: float) -> Cells:
    found = (
        (Column("mean_all", "mean S (Eq. 6)"), "mean_steerability", None),
        (Column("mean_alive", "mean S, alive"), "mean_steerability_alive", None),
        (Column("printed", "mean S as printed"), "mean_steerability_printed", None),
        (Column("floor", "floor ‖P̄‖²"), "steerability_floor", None),
        (Column("n_steerable", f"S > {gamma:g}", 0), "n_steerable", gamma),
        (percent("share", f"S > {gamma:g} (%, Eq. 7)", 1), "steerable_fraction", gamma),
        (Column("n_perfect", "S ≥ 0.9", 0), "n_perfect", PERFECT),
        (Column("coverage", f"words, S > {gamma:g} (Eq. 8)", 0), "concept_coverage", gamma),
        (Column("image0", "words, image 0", 0), "concept_coverage_image0", gamma),
    )
    return [(column, quantity, strength, threshold) for column, quantity, threshold in found]


def _thresholds(layers: pd.DataFrame, strength: float) -> Cells:
    own, cells = layers[layers.strength.astype(float) == strength], []
    for quantity, header, digits, scale in (
        ("steerable_fraction", "S > {:g} (%)", 1, 100),
        ("concept_coverage", "words, S > {:g}", 0, 1),
    ):
        found = own[own.quantity == quantity].threshold.dropna().astype(float).unique()
        for threshold in sorted(found):
            name = f"{quantity}_{threshold:g}"
            column = Column(name, header.format(threshold), digits, scale)
            cells.append((column, quantity, strength, threshold))
    return cells


def _asymptote(layers: pd.DataFrame, strength: float, gamma: float) -> Cells:
    cells = [(Column("cosine", "cosine to the limit"), "asymptote_cosine", strength, None)]
    for name, quantity, threshold, header, digits in (
        ("mean", "mean_steerability", None, "mean S", 3),
        ("steerable", "n_steerable", gamma, f"S > {gamma:g}", 0),
        ("words", "concept_coverage", gamma, f"words, S > {gamma:g}", 0),
    ):
        for key, at in (("s", strength), ("limit", math.inf)):
            column = Column(f"{name}_{key}", f"{header}, {strength_name(at)}", digits)
            cells.append((column, quantity, at, threshold))
    measured = set(layers.quantity)
    for quantity, header in CORRELATIONS.items():
        if quantity in measured:
            cells.append((Column(quantity, header, 2), quantity, strength, None))
    return cells


def _rows(
    layers: pd.DataFrame, cells: Cells, paper: pd.DataFrame | None, strength: float
) -> pd.DataFrame:
    """Return one row per layer and kind, then the paper's."""
    rows = []
    for kind in kinds_of(layers):
        found = {
            column.name: reading(layers, q, kind=kind, strength=s, threshold=t).set_index("layer")
            for column, q, s, t in cells
        }
        # Other strengths may have been measured on fewer units.
        own = layers[(layers.kind == kind) & (layers.strength.astype(float) == strength)]
        for layer, part in own.groupby("layer"):
            row = {"layer": layer, "units": KINDS[kind].name, **_sizes(part.iloc[0])}
            for name, values in found.items():
                if layer in values.index:
                    value, low, high = values.loc[layer, ["value", "low", "high"]]
                    row |= {name: value, f"{name}_low": low, f"{name}_high": high}
            rows.append(row)
    table = pd.DataFrame(rows).sort_values("layer", kind="stable")
    names = [column.name for column, *_ in cells]
    table = table.reindex(columns=list(dict.fromkeys([*table.columns, *names])))
    theirs = [] if paper is None else _paper_rows(paper, cells)
    return pd.concat([table.astype(object), pd.DataFrame(theirs, dtype=object)], ignore_index=True)


def _sizes(row: pd.Series) -> dict:
    """Return the number of units, the number that they were sampled from, and of those alive."""
    whole = row.n_units >= row.n_sampled_from
    n = f"{row.n_units:,.0f}" if whole else f"{row.n_units:,.0f} of {row.n_sampled_from:,.0f}"
    return {"n": n, "n_alive": row.get("n_alive", math.nan)}


def _paper_rows(paper: pd.DataFrame, cells: Cells) -> list[dict]:
    """Return the paper's numbers: a row for each kind and number of units."""
    rows = []
    for (kind, layer, _), part in paper.groupby(["kind", "layer", "n_units"], sort=False):
        row = {"layer": layer, "units": f"{KINDS[kind].name}, the paper's", **_sizes(part.iloc[0])}
        sizes = len(row)
        for column, quantity, _, threshold in cells:
            hits = part[(part.quantity == quantity) & (part.threshold == threshold)]
            if len(hits):
                about = "≈ " if hits.approximate.iloc[0] else ""
                row[column.name] = f"{about}{hits.value.iloc[0]:,.0f}"
        if len(row) > sizes:
            rows.append(row)
    return rows
