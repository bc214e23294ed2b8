"""Table 2 and the two-way table, the paper's numbers next to ours."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from clip_sae.analyses.typographic.render_table import LAYOUTS, beside, printed, setting
from clip_sae.plotting import tables


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
        choice: the table that says what validation chose, for the caption.
        paper_sets: {our data set: the paper's}, for those that have one.
    """
    layout = tables.described(LAYOUTS[protocol], model=model, setting=setting(pd.read_csv(choice)))
    theirs = None if paper is None else beside(tables.read_paper(paper), paper_sets)
    return tables.both(printed(pd.read_csv(csv)), theirs, layout)
