"""Tables 3 and 4 next to the paper's numbers."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from clip_sae.plotting import tables

LAYOUTS = {"table3": tables.TABLE3, "table4": tables.TABLE4}


def reconstruction_table(
    job, *, csv: Path, paper: Path, table: str, model: str, templates: str | Sequence[str]
) -> dict[str, str]:
    """Return {"md", "html"} of one table, of all tokens as the paper's."""
    layout = tables.described(LAYOUTS[table], model=model, templates=str(templates))
    ours = pd.read_csv(csv)
    ours = ours[ours["token_subset"] == "all"]  # the CSV has CLS and patches too
    return tables.both(ours, tables.read_paper(paper), layout)
