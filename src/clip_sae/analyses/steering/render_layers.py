"""The layer table of steerability: Eqs 6-8 with intervals, thresholds, and how final s is.

Steering paper, Section 6.1.2. Three tables on one page, the paper's few numbers as rows below ours.
Table: steerability_layers.csv.
"""

import math

import pandas as pd

from clip_sae.analyses.steering.draw_shared import KINDS, kinds_of, reading, strength_name
from clip_sae.plotting.tables import MISSING, Column, Layout, html_page, html_table, to_markdown

_KEYS = (Column("layer", "Layer", 0), Column("units", "Units"))
_COUNTS = (Column("n", "n units"), Column("n_alive", "alive", 0))
SOURCE = (
    "Paper: Joseph et al. 2025, arXiv 2504.08729, Sections 6.2.2 and 6.2.3, CLIP-ViT-B/32, 5,000 "
    "words; ≈ marks what it gives as about. By its code, it counts the words of image 0 alone."
)


def _wide(
    layers: pd.DataFrame, columns: dict, paper: pd.DataFrame | None, strength: float
) -> pd.DataFrame:
    """One row per layer and kind; `columns`: name → (quantity, strength, threshold or None)."""
    rows = []
    for kind in kinds_of(layers):
        found = {
            name: reading(layers, q, kind=kind, strength=s, threshold=t).set_index("layer")
            for name, (q, s, t) in columns.items()
        }
        # Other strengths may have been measured on fewer units.
        own = layers[(layers.kind == kind) & (layers.strength.astype(float) == strength)]
        for layer, part in own.groupby("layer"):
            row = {"layer": layer, "units": KINDS[kind][0], **_sizes(part.iloc[0])}
            for name, values in found.items():
                if layer in values.index:
                    value, low, high = values.loc[layer, ["value", "low", "high"]]
                    row |= {name: value, f"{name}_low": low, f"{name}_high": high}
            rows.append(row)
    table = pd.DataFrame(rows).sort_values("layer", kind="stable")
    table = table.reindex(columns=list(dict.fromkeys([*table.columns, *columns])))
    theirs = [] if paper is None else _paper_rows(paper, columns)
    return pd.concat([table.astype(object), pd.DataFrame(theirs, dtype=object)], ignore_index=True)


def _sizes(row: pd.Series) -> dict:
    """How many units, of how many where they are a sample, and how many are alive."""
    whole = row.n_units >= row.n_sampled_from
    n = f"{row.n_units:,.0f}" if whole else f"{row.n_units:,.0f} of {row.n_sampled_from:,.0f}"
    return {"n": n, "n_alive": row.get("n_alive", math.nan)}


def _paper_rows(paper: pd.DataFrame, columns: dict) -> list[dict]:
    """The paper's numbers: a row for each kind and number of units."""
    rows = []
    for (kind, layer, _), part in paper.groupby(["kind", "layer", "n_units"], sort=False):
        row = {"layer": layer, "units": f"{KINDS[kind][0]}, the paper's", **_sizes(part.iloc[0])}
        for name, (quantity, strength, threshold) in columns.items():
            hits = part[(part.quantity == quantity) & (part.threshold == threshold)]
            if len(hits) and math.isfinite(strength):
                about = "≈ " if hits.approximate.iloc[0] else ""
                row[name] = f"{about}{hits.value.iloc[0]:,.0f}"
        if len(row) > 4:
            rows.append(row)
    return rows


def sections(
    layers: pd.DataFrame,
    paper: pd.DataFrame,
    *,
    strength: float,
    gamma: float,
    model: str,
    vocabulary: str,
    sampling: str,
) -> list[tuple[pd.DataFrame, Layout]]:
    """Return the page's tables with their layouts: the measures, the thresholds, the asymptote.

    `layers`: the layer table; `paper`: resources/paper/steering.csv; `model`, `vocabulary` and
    `sampling` (how images were chosen, e.g. "stratified") are named in the captions.
    """
    where = f"{model}, {vocabulary}, {_sizes_of_sets(layers, sampling)}"
    return [
        _measures(layers, paper, strength=strength, gamma=gamma, where=where),
        _thresholds(layers, strength=strength, where=where),
        _asymptote(layers, strength=strength, gamma=gamma, where=where),
    ]


def _sizes_of_sets(layers: pd.DataFrame, sampling: str) -> str:
    n_images, n_words = int(layers.n_images.iloc[0]), int(layers.n_words.iloc[0])
    return f"{n_words:,} words, {n_images:,} images ({sampling.replace('_', ' ')})"


def _mean_word(layers: pd.DataFrame) -> str:
    found = layers[layers.quantity == "mu_v_norm"].value
    return MISSING if found.empty else f"{found.iloc[0]:.2f}"


def _measures(layers, paper, *, strength, gamma, where) -> tuple[pd.DataFrame, Layout]:
    columns = {
        "mean_all": ("mean_steerability", strength, None),
        "mean_alive": ("mean_steerability_alive", strength, None),
        "printed": ("mean_steerability_printed", strength, None),
        "floor": ("steerability_floor", strength, None),
        "n_steerable": ("n_steerable", strength, gamma),
        "share": ("steerable_fraction", strength, gamma),
        "n_perfect": ("n_perfect", strength, 0.9),
        "coverage": ("concept_coverage", strength, gamma),
        "image0": ("concept_coverage_image0", strength, gamma),
    }
    layout = Layout(
        keys=_KEYS,
        columns=(
            *_COUNTS,
            Column("mean_all", "mean S (Eq. 6)"),
            Column("mean_alive", "mean S, alive"),
            Column("printed", "mean S as printed"),
            Column("floor", "floor ‖P̄‖²"),
            Column("n_steerable", f"S > {gamma:g}", 0),
            Column("share", f"S > {gamma:g} (%, Eq. 7)", 1, scale=100),
            Column("n_perfect", "S ≥ 0.9", 0),
            Column("coverage", f"words, S > {gamma:g} (Eq. 8)", 0),
            Column("image0", "words, image 0", 0),
        ),
        caption=f"Steerability by layer, {strength_name(strength)}. {where}. Intervals: 95 % "
        "bootstrap over images, for one SAE seed. S as printed (the mean of squares) keeps what "
        "differs between images; the floor is what a unit scores that only erases the clean "
        "prediction, and where it nears a threshold, passing that threshold says little.",
        source=SOURCE,
    )
    return _wide(layers, columns, paper, strength), layout


def _thresholds(layers, *, strength, where) -> tuple[pd.DataFrame, Layout]:
    values = layers[layers.strength.astype(float) == strength]
    columns, printed = {}, []
    for quantity, header, digits, scale in (
        ("steerable_fraction", "S > {:g} (%)", 1, 100),
        ("concept_coverage", "words, S > {:g}", 0, 1),
    ):
        found = values[values.quantity == quantity].threshold.dropna().astype(float).unique()
        for threshold in sorted(found):
            name = f"{quantity}_{threshold:g}"
            columns[name] = (quantity, strength, threshold)
            printed.append(Column(name, header.format(threshold), digits, scale=scale))
    layout = Layout(
        keys=_KEYS,
        columns=(_COUNTS[0], *printed),
        caption=f"Steerable share (Eq. 7) and words reached (Eq. 8) over thresholds. {where}, "
        f"{strength_name(strength)}.",
        source="",
    )
    return _wide(layers, columns, None, strength), layout


def _asymptote(layers, *, strength, gamma, where) -> tuple[pd.DataFrame, Layout]:
    columns = {"cosine": ("asymptote_cosine", strength, None)}
    printed = [Column("cosine", "cosine to the limit")]
    for name, quantity, threshold, header, digits in (
        ("mean", "mean_steerability", None, "mean S", 3),
        ("steerable", "n_steerable", gamma, f"S > {gamma:g}", 0),
        ("words", "concept_coverage", gamma, f"words, S > {gamma:g}", 0),
    ):
        for key, at in (("s", strength), ("limit", math.inf)):
            columns[f"{name}_{key}"] = (quantity, at, threshold)
            printed.append(Column(f"{name}_{key}", f"{header}, {strength_name(at)}", digits))
    measured = set(layers.quantity)
    for name, header in (
        ("d_f", "rank correlation of S with D_f"),
        ("d_f_authors", "with D_f, authors' form"),
        ("dispersion_own", "with the spread around its own centroid"),
    ):
        quantity = f"{name}_rank_correlation"
        if quantity in measured:
            columns[name] = (quantity, strength, None)
            printed.append(Column(name, header, 2))
    layout = Layout(
        keys=_KEYS,
        columns=(_COUNTS[0], *printed),
        caption=f"How final {strength_name(strength)} is. {where}. The limit is the embedding of "
        "the unit's direction alone, which no image changes. D_f (Eq. 11) is a distance from the "
        f"mean word, of length ‖μ_V‖ = {_mean_word(layers)}; the paper justifies it for ‖μ_V‖ ≈ 0.",
        source="",
    )
    return _wide(layers, columns, None, strength), layout


def render_markdown(tables: list[tuple[pd.DataFrame, Layout]]) -> str:
    """Render `sections` as Markdown."""
    return "\n".join(to_markdown(table, None, layout).rstrip() + "\n" for table, layout in tables)


def render_html(tables: list[tuple[pd.DataFrame, Layout]]) -> str:
    """Render `sections` as one HTML page."""
    return html_page("Steerability by layer", [html_table(t, None, layout) for t, layout in tables])
