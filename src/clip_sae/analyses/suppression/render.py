"""Tables 1 and 5 to 8 next to the paper's cells, and tables beyond the paper, for readers.

Steering paper §7.1.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from clip_sae.plotting.tables import Column, Layout, both, percent

CHANGES = (
    percent("worst_change", "Worst, change"),
    Column("lost", "lost", 0),
    Column("gained", "gained", 0),
    Column("p", "McNemar p", 4),
    percent("largest_drop", "largest drop of another group"),
)
VALIDATION = percent("val_worst", "Worst on validation")
SCORES = (percent("overall", "Overall"), percent("worst", "Worst"))
FULL = (
    percent("full_overall", "Overall, all test images"),
    percent("full_worst", "Worst, all test images"),
    percent("full_worst_change", "change there"),
)
PAPER = "Paper: Joseph et al. 2025, arXiv 2504.08729, Table {number}."
BEYOND = "Beyond the paper."
INTERVALS = "Accuracies in percent [95 % bootstrap interval, images resampled within each group]"
RULES = {
    "strict": "the highest worst-group accuracy with neither it nor the overall one below the "
    "baseline's",
    "relaxed": "the highest worst-group accuracy with no other group losing more than {points:g} "
    "points",
}
CONDITION = (
    "{title}. {dataset}, {condition} condition: {rule}, chosen on validation. Ours: {model}, "
    "{n_images:,} test images, {n_worst} in the worst group; nothing taken out: overall "
    "{overall:.2f}, worst group {worst:.2f}. The paper's: CLIP-ViT-B/32. Accuracies in percent; "
    "[95 % bootstrap interval, images resampled within each group]; of random sets the mean "
    "[least, greatest] over {n_seeds} seeds. McNemar's exact test on the baseline's worst test "
    "group."
)
FULL_TEST = (
    " All {n_images:,} test images, nothing taken out: overall {overall:.2f}, worst group "
    "{worst:.2f}."
)
TABLE1 = (
    "Table 1. Sets taken out under the strict condition. Per layer the SAE that is best on "
    "validation (the paper picked on test); * is the layer that is best on validation. "
    "Neurons: by the same thresholds, as the paper's, and chosen among sets of as large a "
    "share of all neurons as the SAE's sets are of its latents. Ours: {model}; the paper's: "
    f"CLIP-ViT-B/32. {INTERVALS}; change of the worst group, whichever it is; p: McNemar's exact "
    "test on the baseline's worst test group alone, SAE against nothing taken out."
)
TABLE1_KINDS = {
    "neuron": "neurons",
    "sae": "SAE",
    "matched": "neurons of as large a share",
}
TEXT_SIDE = Layout(
    keys=(Column("method", "Method"),),
    columns=(
        Column("weight", "weight", 0),
        VALIDATION,
        *SCORES,
        percent("group_mean", "Group mean"),
        percent("adjusted", "Adjusted"),
        *CHANGES,
    ),
    caption="{dataset}: edits of the text embeddings instead of the residual. Ours: {model}, "
    f"prompt {{template!r}}; weights chosen on validation. {INTERVALS}. Projection: what is left "
    "outside the span of the background prompts; calibration: a ridge map that equalises "
    "pairs which differ in the background; roboshot: harmful directions removed from the "
    "images, helpful ones added.",
    source="Chuang et al. 2023, arXiv 2302.00070; Adila et al. 2023, arXiv 2309.04344.",
)
PROMPTS = Layout(
    keys=(Column("template", "Prompt"), Column("names", "Names")),
    columns=(
        percent("base_overall", "Overall, as it is"),
        percent("base_worst", "Worst, as it is"),
        percent("overall", "Overall, taken out"),
        percent("worst", "Worst, taken out"),
        *CHANGES,
    ),
    caption="{dataset} under other prompts: {model} as it is, and without the set of Table 1 "
    f"({{chosen}}), which was chosen under the prompt {{template!r}}. {INTERVALS}.",
    source="The paper names no prompt.",
)
VARIANTS = Layout(
    keys=(Column("case", "Case"), Column("condition", "Condition")),
    columns=(
        Column("kind", "taken out"),
        Column("where", "Layer"),
        Column("direction", "side"),
        Column("n_units", "units", 0),
        VALIDATION,
        *SCORES,
        *CHANGES,
    ),
    caption="{dataset}: other readings of Eq. 9, SAE {column}, {model}; of each case the layer "
    f"that is best on validation. {INTERVALS}.",
    source=BEYOND,
)


# --- tables of the paper --------------------------------------------------------------------------


def table1(job, *, csv: Path, paper: Path, sets: Sequence[str], model: str) -> dict[str, str]:
    """Return {"md", "html"} of Table 1 for all `sets`; a star marks the picked layer."""
    table = pd.read_csv(csv)
    table = table.assign(layer=table["layer"].astype(str))
    columns = []
    for name in sets:
        star = table[f"{name}_picked"].map({True: " *", False: ""})
        table[f"{name}_sae"] = table[f"{name}_sae"].str.cat(star)
        columns += [
            percent(f"{name}_{kind}_{score}", f"{name}, {words}: {score}")
            for kind, words in TABLE1_KINDS.items()
            for score in ("overall", "worst")
        ]
        columns += [
            percent(f"{name}_worst_change", f"{name}, SAE: worst, change"),
            Column(f"{name}_p", f"{name}: p", 4),
            percent(f"{name}_largest_drop", f"{name}: largest drop of another group"),
            Column(f"{name}_sae", f"{name}: chosen"),
        ]
    layout = Layout(
        keys=(Column("layer", "Layer"),),
        columns=tuple(columns),
        caption=TABLE1.format(model=model),
        source=PAPER.format(number=1),
    )
    return _pages("table1", [(table, layout)], paper)


def condition_table(
    job,
    *,
    csv: Path,
    paper: Path | None,
    table: str,
    condition: str,
    dataset: str,
    model: str,
    points: float,
) -> dict[str, str]:
    """Return {"md", "html"} of one of Tables 5 to 8.

    Args:
        table: its file name, e.g. "table5"; condition: a key of `RULES`.
        points: share that another group may lose under the relaxed condition.
    """
    ours = pd.read_csv(csv)
    first, number = ours.iloc[0], table.removeprefix("table")
    caption = CONDITION.format(
        title=table.replace("table", "Table ") if table.startswith("table") else table,
        dataset=dataset,
        condition=condition,
        rule=RULES[condition].format(points=100 * points),
        model=model,
        n_images=int(first["n_images"]),
        n_worst=int(first["n_worst"]),
        overall=100 * first["base_overall"],
        worst=100 * first["base_worst"],
        n_seeds=_seeds(ours),
    )
    if not pd.isna(first.get("full_base_worst", float("nan"))):
        caption += FULL_TEST.format(
            n_images=int(first["full_n_images"]),
            overall=100 * first["full_base_overall"],
            worst=100 * first["full_base_worst"],
        )
    layout = Layout(
        keys=(Column("part", "taken out"), Column("column", "SAE"), Column("layer", "Layer", 0)),
        columns=(
            Column("direction", "side"),
            Column("tau_high", "tau", 4),
            Column("n_units", "units", 0),
            VALIDATION,
            *SCORES,
            *CHANGES,
            *(FULL if "full_worst" in ours else ()),
        ),
        caption=caption,
        source=PAPER.format(number=number) if number.isdigit() else BEYOND,
    )
    return _pages(table, [(ours, layout)], paper)


def _seeds(table: pd.DataFrame) -> str:
    """Return the number of draws of random sets: some orders of units reach no equal mass."""
    drawn = table.loc[table["n_seeds"] > 0, "n_seeds"]
    low, high = (int(drawn.min()), int(drawn.max())) if len(drawn) else (0, 0)
    return f"{high}" if low == high else f"{low} to {high}"


# --- beyond the paper: one table per data set -----------------------------------------------------


def text_side(job, *, csv: Path, model: str, templates: Mapping[str, str]) -> dict[str, str]:
    """Return {"md", "html"} of the text-side baselines; `templates` by data set."""
    return _by_set("suppression_text", csv, TEXT_SIDE, templates, model=model)


def prompts(job, *, csv: Path, model: str, templates: Mapping[str, str]) -> dict[str, str]:
    """Return {"md", "html"} of the prompt sweep; `templates` by data set, of the choice."""
    return _by_set("suppression_prompts", csv, PROMPTS, templates, model=model)


def variants(job, *, csv: Path, model: str, column: str) -> dict[str, str]:
    """Return {"md", "html"} of the other readings of Eq. 9; `column` names the SAE."""
    return _by_set("suppression_variants", csv, VARIANTS, {}, model=model, column=column)


def _by_set(
    title: str, csv: Path, layout: Layout, templates: Mapping[str, str], **facts: str
) -> dict[str, str]:
    """Return one table per data set, its facts filled into the caption."""
    parts = []
    for dataset, own in pd.read_csv(csv).groupby("dataset", sort=False):
        facts |= {"dataset": dataset, "template": templates.get(dataset, "")}
        if "chosen" in own:
            facts["chosen"] = own["chosen"].iloc[0]
        parts.append((own, layout.filled(**facts)))
    return _pages(title, parts)


def _pages(
    title: str, parts: Sequence[tuple[pd.DataFrame, Layout]], paper: Path | None = None
) -> dict[str, str]:
    """Return {"md", "html"}; small p read "<0.0001", and the empty set has no threshold."""
    shown = []
    for table, layout in parts:
        for name in [c for c in table if c == "p" or c.endswith("_p")]:
            small = table[name] < 0.0001
            table = table.assign(**{name: table[name].astype(object).mask(small, "<0.0001")})
        if "tau_high" in table:
            table = table.assign(tau_high=table["tau_high"].where(table["n_units"] > 0))
        shown.append((table, layout))
    return both(shown, None if paper is None else pd.read_csv(paper), title)
