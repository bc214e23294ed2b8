"""Tables 1 and 5 to 8 next to the paper's cells, and what lies beyond them, for readers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from clip_sae.analyses.suppression import render_tables as layouts
from clip_sae.plotting.tables import Layout, html_page, html_table, read_paper, to_markdown


def table1(job, *, csv: Path, paper: Path, sets: Sequence[str], model: str) -> dict[str, str]:
    """Return {"md", "html"} of Table 1, `sets` side by side."""
    table = layouts.table1_cells(pd.read_csv(csv), sets)
    return _both("table1", [(table, layouts.table1_layout(sets, model=model))], paper)


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
    """Return {"md", "html"} of one of Tables 5 to 8, which is called `table`."""
    ours = pd.read_csv(csv)
    facts = {"dataset": dataset, "model": model, "points": points}
    return _both(table, [(ours, layouts.condition_layout(ours, table, condition, **facts))], paper)


def text_side(job, *, csv: Path, model: str, templates: Mapping[str, str]) -> dict[str, str]:
    """Return {"md", "html"} of the text-side baselines; `templates` by data set."""

    def layout(dataset: str, own: pd.DataFrame) -> Layout:
        return layouts.text_layout(dataset, model=model, template=templates[dataset])

    return _both("suppression_text", [*_by_set(csv, layout)])


def prompts(job, *, csv: Path, model: str, templates: Mapping[str, str]) -> dict[str, str]:
    """Return {"md", "html"} of the prompt sweep; `templates` by data set, of the choice."""

    def layout(dataset: str, own: pd.DataFrame) -> Layout:
        facts = {"model": model, "template": templates[dataset]}
        return layouts.prompt_layout(dataset, chosen=own["chosen"].iloc[0], **facts)

    return _both("suppression_prompts", [*_by_set(csv, layout)])


def variants(job, *, csv: Path, model: str, column: str) -> dict[str, str]:
    """Return {"md", "html"} of the other readings of Eq. 9; `column` names the SAE."""

    def layout(dataset: str, own: pd.DataFrame) -> Layout:
        return layouts.variant_layout(dataset, model=model, column=column)

    return _both("suppression_variants", [*_by_set(csv, layout)])


def _by_set(
    csv: Path, layout: Callable[[str, pd.DataFrame], Layout]
) -> Iterator[tuple[pd.DataFrame, Layout]]:
    """Yield (table, layout) of each data set of a file."""
    for dataset, own in pd.read_csv(csv).groupby("dataset", sort=False):
        yield own, layout(dataset, own)


def _both(
    title: str, parts: Sequence[tuple[pd.DataFrame, Layout]], paper: Path | None = None
) -> dict[str, str]:
    """Return tables one below the other as Markdown and as one HTML page."""
    cells = None if paper is None else read_paper(paper)
    shown = [(layouts.printable(table), layout) for table, layout in parts]
    return {
        "md": "\n".join(to_markdown(table, cells, layout) for table, layout in shown),
        "html": html_page(title, [html_table(table, cells, layout) for table, layout in shown]),
    }
