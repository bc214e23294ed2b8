"""A results table beside the paper's, as Markdown and as one HTML page.

Steering paper, Tables 3 and 4 (`TABLE3`, `TABLE4`). Percent appears here and nowhere earlier.
"""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

MISSING = "–"


@dataclass(frozen=True)
class Column:
    """One printed column. `scale` multiplies our number, never the paper's, which is as printed."""

    name: str
    header: str
    digits: int = 3
    scale: float = 1.0

    def number(self, value: object, scale: float = 1.0) -> str:
        """A rounded number, text as it is, a dash for nothing."""
        if isinstance(value, str):
            return value
        if pd.isna(value):
            return MISSING
        return f"{float(value) * scale:,.{self.digits}f}"

    def ours(self, row: pd.Series) -> str:
        """Our number, with its interval where the table has `<name>_low` and `<name>_high`."""
        text = self.number(row[self.name], self.scale)
        low, high = row.get(f"{self.name}_low"), row.get(f"{self.name}_high")
        if low is None or pd.isna(low) or text == MISSING:
            return text
        return f"{text} [{self.number(low, self.scale)}, {self.number(high, self.scale)}]"


@dataclass(frozen=True)
class Layout:
    """What a rendered table says: its keys (printed first, matched to the paper's rows), columns,
    caption and source of the paper's numbers.
    """

    keys: tuple[Column, ...]
    columns: tuple[Column, ...]
    caption: str
    source: str


_KEYS = (Column("layer", "Layer", 0), Column("hook", "Hook"))
_IMAGES = Column("n_images", "n", 0)
_QUALITY = (
    Column("ce", "CE"),
    Column("recon_ce", "Recon CE"),
    Column("zero_ce", "Zero Abl CE"),
    Column("ce_recovered", "CE Rec (%)", 2, scale=100),
)
# The paper's Table 4 is at scale 1 with bare names: its 6.908 is ln 1000.
_QUALITY_SCALE1 = (
    Column("ce_scale1", "CE at scale 1"),
    Column("recon_ce_scale1", "Recon CE at scale 1"),
    Column("zero_ce_scale1", "Zero Abl CE at scale 1"),
    Column("ce_recovered_scale1", "CE Rec at scale 1 (%)", 2, scale=100),
)
# The authors' code takes the cosine across tokens, per dimension: theirs stands beside that form.
_COSINES = (
    Column("cosine_similarity", "Cos Sim per token"),
    Column("cosine_similarity_prisma", "Cos Sim, authors' form"),
    Column("embedding_cosine", "Recon Cos Sim"),
)
TABLE3 = Layout(
    keys=(*_KEYS, Column("l1_coefficient", "L1 coef.")),
    columns=(
        Column("token_subset", "Tokens"),
        _IMAGES,
        Column("explained_variance", "Exp. Var."),
        Column("l0", "L0", 2),
        Column("l0_per_image", "Avg Img L0", 2),
        Column("cls_l0", "Avg CLS L0", 2),
        *_COSINES,
        *_QUALITY,
    ),
    caption="Table 3. Vanilla SAEs: reconstruction. Ours: {model}; the paper's: CLIP-ViT-B/32. CE "
    "with prompts {templates} at the model's logit scale; intervals are 95 % bootstrap over n "
    "images, for one SAE seed. l1 acts through d_model x token norm: equal l1 is not equal "
    "sparsity.",
    source="Paper: Joseph et al. 2025, arXiv 2504.08729, Table 3.",
)
TABLE4 = Layout(
    keys=_KEYS,  # not k: the paper prints k = 64 of d_model 768 only, and says so in its column
    columns=(
        Column("k", "k", 0),
        Column("token_subset", "Tokens"),
        _IMAGES,
        Column("explained_variance", "Exp. Var."),
        Column("l0", "L0", 2),
        *_COSINES,
        *_QUALITY,
        *_QUALITY_SCALE1,
    ),
    caption="Table 4. TopK SAEs: reconstruction. Ours: {model}; the paper's: CLIP-ViT-B/32. CE "
    "with prompts {templates} at the model's logit scale, then as the paper's, with bare names at "
    "scale 1; intervals are 95 % bootstrap over n images, for one SAE seed.",
    source="Paper: Joseph et al. 2025, arXiv 2504.08729, Table 4.",
)


def described(layout: Layout, **facts: str) -> Layout:
    """Return the layout with facts such as `model` and `templates` filled into its caption."""
    return replace(layout, caption=layout.caption.format(**facts))


def beside_paper(table: pd.DataFrame, paper: pd.DataFrame | None, layout: Layout) -> pd.DataFrame:
    """Return text cells, columns as (header, "ours" | "paper" | ""), one row per row of `table`.

    A row of the paper belongs to ours where all keys are equal and, if `table` has the column
    token_subset, to its rows "all" only: the paper's tables are of all tokens.
    """
    _require(table, layout, "the results table")
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
    """Render as a Markdown table; the paper's numbers stand in columns of their own."""
    cells = beside_paper(table, paper, layout)
    headers = [f"{header} ({part})" if part else header for header, part in cells.columns]
    lines = [f"**{_inert(layout.caption)}**", "", _line(headers)]
    lines.append(_line(["---"] + ["--:"] * (len(headers) - 1)))
    lines += [_line(row) for row in cells.itertuples(index=False)]
    return "\n".join([*lines, "", _inert(layout.source), ""])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_inert(str(cell)).replace("|", "\\|") for cell in cells) + " |"


def _inert(text: str) -> str:
    """Text that Markdown shows as it is: class names and words come with data, as does a <script>.

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


def to_html(table: pd.DataFrame, paper: pd.DataFrame | None, layout: Layout) -> str:
    """Render as a whole HTML page without scripts; ours and the paper's under one header."""
    return html_page(layout.caption.split(".")[0], [html_table(table, paper, layout)])


def both(table: pd.DataFrame, paper: pd.DataFrame | None, layout: Layout) -> dict[str, str]:
    """Render as Markdown and as an HTML page: {"md": text, "html": text}."""
    return {"md": to_markdown(table, paper, layout), "html": to_html(table, paper, layout)}


def html_page(title: str, tables: Sequence[str]) -> str:
    """Return a whole HTML page of tables from `html_table`."""
    return (
        '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">'
        f"<title>{html.escape(title)}</title>"
        f"<style>{_STYLE}</style></head>\n<body>{''.join(tables)}</body>\n</html>\n"
    )


def html_table(table: pd.DataFrame, paper: pd.DataFrame | None, layout: Layout) -> str:
    """Render one table of a page, its caption above and its source below."""
    cells = beside_paper(table, paper, layout)
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


def read_paper(path: Path) -> pd.DataFrame:
    """Read a table of workflow/resources/paper, whose column names are ours."""
    return pd.read_csv(path)


def _key_text(key: Column, value: object) -> str:
    whole = isinstance(value, str) or pd.isna(value) or float(value).is_integer()
    return key.number(value) if whole else f"{value:g}"


def _match(table: pd.DataFrame, paper: pd.DataFrame, layout: Layout) -> list[pd.Series | None]:
    """The paper's row for each of ours, None where it has none."""
    names = [key.name for key in layout.keys]
    missing = [name for name in names if name not in paper.columns]
    if missing:
        raise ValueError(
            f"the paper's table has no column {missing[0]!r} to match rows by; it has "
            f"{', '.join(paper.columns)}"
        )
    repeated = paper[paper.duplicated(names, keep=False)]
    if len(repeated):
        raise ValueError(
            f"the paper's table holds {len(repeated)} rows that {', '.join(names)} do not tell "
            "apart; add a key to the layout"
        )
    rows = {_key(row, names): row for _, row in paper.iterrows()}
    whole = table.get("token_subset", pd.Series("all", index=table.index)) == "all"
    return [
        rows.get(_key(row, names)) if is_whole else None
        for (_, row), is_whole in zip(table.iterrows(), whole, strict=True)
    ]


def _key(row: pd.Series, names: Sequence[str]) -> tuple:
    """Key values, numbers rounded to 9 digits so that 8e-05 equals 8e-5 however it was made."""
    return tuple(v if isinstance(v, str) else float(f"{v:.9g}") for v in row[list(names)])


def _require(table: pd.DataFrame, layout: Layout, what: str) -> None:
    wanted = [column.name for column in (*layout.keys, *layout.columns)]
    missing = [name for name in wanted if name not in table.columns]
    if missing:
        raise ValueError(
            f"{what} has no column {missing[0]!r}, which its layout prints; it has "
            f"{', '.join(table.columns)}"
        )
