"""Results tables next to the paper's numbers, as Markdown and as one HTML page.

Shares turn into percent here and nowhere earlier.
"""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

MISSING = "–"


@dataclass(frozen=True)
class Column:
    """One printed column. `scale` multiplies our numbers; the paper's stay as printed."""

    name: str
    header: str
    digits: int = 3
    scale: float = 1.0

    def number(self, value: object, scale: float = 1.0) -> str:
        """Return a number rounded, text as it is, a dash for a missing value."""
        if isinstance(value, str):
            return value
        if pd.isna(value):
            return MISSING
        return f"{float(value) * scale:,.{self.digits}f}"

    def ours(self, row: pd.Series) -> str:
        """Return our number, with its interval if the table has `<name>_low` and `<name>_high`."""
        text = self.number(row[self.name], self.scale)
        low, high = row.get(f"{self.name}_low"), row.get(f"{self.name}_high")
        if low is None or pd.isna(low) or text == MISSING:
            return text
        return f"{text} [{self.number(low, self.scale)}, {self.number(high, self.scale)}]"


def percent(name: str, header: str, digits: int = 2) -> Column:
    """Return a column that prints shares in percent."""
    return Column(name, header, digits, scale=100)


@dataclass(frozen=True)
class Layout:
    """The columns and texts of a rendered table.

    Attributes:
        keys: columns that are printed first, and by which the paper's rows are matched to ours.
        caption: the text above the table; source: the text below it, e.g. of the paper's numbers.
    """

    keys: tuple[Column, ...]
    columns: tuple[Column, ...]
    caption: str
    source: str = ""

    def filled(self, **facts: object) -> "Layout":
        """Return the layout with facts such as `model` filled into its caption."""
        return replace(self, caption=self.caption.format(**facts))


def text_cells(table: pd.DataFrame, paper: pd.DataFrame | None, layout: Layout) -> pd.DataFrame:
    """Return text cells, columns as (header, "ours" | "paper" | ""), one row per row of `table`.

    A row of the paper belongs to ours where all keys are equal. If `table` has the column
    token_subset, only its rows "all" get the paper's numbers, which count all tokens.
    """
    wanted = [column.name for column in (*layout.keys, *layout.columns)]
    if missing := [name for name in wanted if name not in table.columns]:
        raise ValueError(
            f"the results table has no column {missing[0]!r}, which its layout prints; it has "
            f"{', '.join(table.columns)}"
        )
    matched = [None] * len(table) if paper is None else _match(table, paper, layout)
    cells: dict[tuple[str, str], list[str]] = {}
    for key in layout.keys:
        cells[key.header, ""] = [_key_text(key, value) for value in table[key.name]]
    for column in layout.columns:
        in_paper = paper is not None and column.name in paper.columns
        ours = [column.ours(row) for _, row in table.iterrows()]
        cells[column.header, "ours" if in_paper else ""] = ours
        if in_paper:
            cells[column.header, "paper"] = [
                MISSING if row is None else column.number(row[column.name]) for row in matched
            ]
    return pd.DataFrame(cells)


def to_markdown(table: pd.DataFrame, paper: pd.DataFrame | None, layout: Layout) -> str:
    """Render as a Markdown table; the paper's numbers have columns of their own."""
    cells = text_cells(table, paper, layout)
    headers = [f"{header} ({part})" if part else header for header, part in cells.columns]
    lines = [f"**{_inert(layout.caption)}**", "", _line(headers)]
    lines.append(_line(["---"] + ["--:"] * (len(headers) - 1)))
    lines += [_line(row) for row in cells.itertuples(index=False)]
    return "\n".join([*lines, *(["", _inert(layout.source)] if layout.source else []), ""])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_inert(str(cell)).replace("|", "\\|") for cell in cells) + " |"


def _inert(text: str) -> str:
    """Return text that Markdown shows as it is: class names in the data may hold a <script>.

    A "<" that no tag follows stays ("<0.0001"), and so do brackets without a link.
    """
    text = re.sub(r"<(?=[A-Za-z/!?])", "&lt;", " ".join(text.split("\n")))
    return text.replace("](", "]\\(")


_STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 2rem; color: #222; }
div { overflow-x: auto; }
table { border-collapse: collapse; white-space: nowrap; font-variant-numeric: tabular-nums; }
caption, p { text-align: left; max-width: 60rem; white-space: normal; margin: .4rem 0; }
caption { font-weight: 600; }
th, td { padding: .2rem .6rem; text-align: right; }
th { border-bottom: 1px solid #444; font-weight: 600; }
tbody tr:nth-child(even) { background: #f4f6f8; }
td.paper, th.paper { color: #a04000; }
small { color: #666; }
"""


def both(
    parts: Sequence[tuple[pd.DataFrame, Layout]],
    paper: pd.DataFrame | None = None,
    title: str = "",
) -> dict[str, str]:
    """Render tables one below the other: {"md": Markdown, "html": a whole page without scripts}.

    `title`: of the page; by default the first sentence of the first caption.
    """
    title = title or parts[0][1].caption.split(".")[0]
    tables = "".join(html_table(table, paper, layout) for table, layout in parts)
    return {
        "md": "\n".join(to_markdown(table, paper, layout) for table, layout in parts),
        "html": '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">'
        f"<title>{html.escape(title)}</title>"
        f"<style>{_STYLE}</style></head>\n<body>{tables}</body>\n</html>\n",
    }


def html_table(table: pd.DataFrame, paper: pd.DataFrame | None, layout: Layout) -> str:
    """Render one table of a page, with its caption above and its source below."""
    cells = text_cells(table, paper, layout)
    parts = [part for _, part in cells.columns]
    top, below = [], []
    for header, part in cells.columns:
        if part == "":
            top.append(f'<th rowspan="2">{html.escape(header)}</th>')
            continue
        if part == "ours":
            top.append(f'<th colspan="2">{html.escape(header)}</th>')
        below.append(f'<th class="{part}">{part}</th>')
    body = "\n".join(
        "<tr>" + "".join(map(_html_cell, row, parts)) + "</tr>"
        for row in cells.itertuples(index=False)
    )
    return (
        "<div><table>\n"
        f"<caption>{html.escape(layout.caption)}</caption>\n"
        f"<thead><tr>{''.join(top)}</tr><tr>{''.join(below)}</tr></thead>\n"
        f"<tbody>\n{body}\n</tbody>\n</table></div>\n<p>{html.escape(layout.source)}</p>\n"
    )


def _html_cell(text: str, part: str) -> str:
    number, bracket, interval = html.escape(text).partition(" [")
    small = f" <small>[{interval}</small>" if bracket else ""
    return f'<td class="paper">{number}</td>' if part == "paper" else f"<td>{number}{small}</td>"


def _key_text(key: Column, value: object) -> str:
    whole = isinstance(value, str) or pd.isna(value) or float(value).is_integer()
    return key.number(value) if whole else f"{value:g}"


def _match(table: pd.DataFrame, paper: pd.DataFrame, layout: Layout) -> list[pd.Series | None]:
    """Return the paper's row for each of ours, None where it has none."""
    names = [key.name for key in layout.keys]
    if missing := [name for name in names if name not in paper.columns]:
        raise ValueError(
            f"the paper's table has no column {missing[0]!r} to match rows by; it has "
            f"{', '.join(paper.columns)}"
        )
    repeated = paper[paper.duplicated(names, keep=False)]
    if len(repeated):
        raise ValueError(
            f"the paper's table holds {len(repeated)} rows with equal {', '.join(names)}; add a "
            "key to the layout"
        )
    rows = {_key(row, names): row for _, row in paper.iterrows()}
    whole = table.get("token_subset", pd.Series("all", index=table.index)) == "all"
    return [
        rows.get(_key(row, names)) if is_whole else None
        for (_, row), is_whole in zip(table.iterrows(), whole, strict=True)
    ]


def _key(row: pd.Series, names: Sequence[str]) -> tuple:
    """Return key values, numbers rounded to 9 digits so that 8e-05 equals a computed 8e-5."""
    return tuple(v if isinstance(v, str) else float(f"{v:.9g}") for v in row[list(names)])
