"""Rendered tables: our numbers next to the paper's, none invented, none lost."""

import html
from html.parser import HTMLParser

import pandas as pd
import pytest

from clip_sae.analyses.reconstruction.render import LAYOUTS
from clip_sae.plotting.tables import Column, Layout, both, text_cells, to_markdown

LAYOUT = Layout(
    keys=(Column("layer", "Layer", 0), Column("l1_coefficient", "L1")),
    columns=(
        Column("n_images", "n", 0),
        Column("ce_recovered", "CE Rec (%)", 1, scale=100),
        Column("l0", "L0 <a|b>", 2),
    ),
    caption="Table 3. Vanilla.",
    source="Paper: Table 3 & more.",
)
OURS = pd.DataFrame(
    {
        "layer": [0, 1],
        "l1_coefficient": [8e-5, 1e-4],
        "n_images": [12345, 12345],
        "ce_recovered": [0.9035, float("nan")],
        "ce_recovered_low": [0.89, float("nan")],
        "ce_recovered_high": [0.92, float("nan")],
        "l0": [57.314, 3.0],
    }
)
PAPER = pd.DataFrame(
    {"layer": [0, 5], "l1_coefficient": [0.00008, 1e-4], "ce_recovered": [91.77, 99.0]}
)


def test_cells_hold_number_interval_and_the_papers_number():
    cells = text_cells(OURS, PAPER, LAYOUT)
    assert cells["CE Rec (%)", "ours"].tolist() == ["90.3 [89.0, 92.0]", "–"]
    assert cells["CE Rec (%)", "paper"].tolist() == ["91.8", "–"]
    assert cells["n", ""].tolist() == ["12,345"] * 2
    assert cells["L1", ""].tolist() == ["8e-05", "0.0001"]
    assert cells["L0 <a|b>", ""].tolist() == ["57.31", "3.00"]  # the paper has no such column


def test_only_rows_of_all_tokens_stand_next_to_the_paper():
    ours = pd.concat([OURS.head(1).assign(token_subset=s) for s in ("all", "cls")])
    cells = text_cells(ours, PAPER, LAYOUT)
    assert cells["CE Rec (%)", "paper"].tolist() == ["91.8", "–"]


def test_markdown_is_one_table_of_equal_rows():
    lines = to_markdown(OURS, PAPER, LAYOUT).splitlines()
    rows = [line.replace("\\|", "").strip("|").split("|") for line in lines if line.startswith("|")]
    assert len(rows) == 4
    assert len({len(row) for row in rows}) == 1
    assert rows[0][3].strip() == "CE Rec (%) (ours)"
    assert lines[0] == "**Table 3. Vanilla.**"
    assert lines[-1] == "Paper: Table 3 & more."


class _Cells(HTMLParser):
    """Counts the grid columns of each row, spans included."""

    def __init__(self):
        super().__init__()
        self.rows, self.open = [], []

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append(0)
        if tag in ("td", "th"):
            self.rows[-1] += int(dict(attrs).get("colspan", 1))
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def to_html(table, paper, layout):
    return both([(table, layout)], paper)["html"]


def test_html_is_well_formed_escaped_and_rectangular():
    page = to_html(OURS, PAPER, LAYOUT)
    parser = _Cells()
    parser.feed(page)
    assert not parser.open
    top, below, *body = parser.rows
    assert (top, below, body) == (6, 2, [6, 6])
    assert "L0 &lt;a|b&gt;" in page
    assert "Table 3 &amp; more" in page
    assert "90.3 <small>[89.0, 92.0]</small>" in page


def test_without_the_paper_only_ours_is_printed():
    cells = text_cells(OURS, None, LAYOUT)
    assert {part for _, part in cells.columns} == {""}
    assert "paper" not in to_html(OURS, None, LAYOUT).split("</style>")[1].lower().split("<p>")[0]


def test_a_missing_column_and_an_ambiguous_paper_are_named():
    with pytest.raises(ValueError, match="the results table has no column 'l0', which its layout"):
        text_cells(OURS.drop(columns="l0"), PAPER, LAYOUT)
    with pytest.raises(ValueError, match="no column 'l1_coefficient' to match rows by"):
        text_cells(OURS, PAPER.drop(columns="l1_coefficient"), LAYOUT)
    twice = pd.concat([PAPER, PAPER.head(1)])
    with pytest.raises(ValueError, match="holds 2 rows with equal layer, l1_coefficient"):
        text_cells(OURS, twice, LAYOUT)


@pytest.mark.parametrize(
    ("name", "n_rows", "first"),
    [("table3", 24, (0, "mlp_out", 57.31)), ("table4", 11, (1, "resid_post", 64))],
)
def test_the_shipped_paper_tables_have_the_columns_the_layouts_print(
    resources, name, n_rows, first
):
    layout = LAYOUTS[name]
    paper = pd.read_csv(resources / "paper" / f"{name}.csv")
    assert len(paper) == n_rows
    assert tuple(paper.iloc[0][["layer", "hook", "l0"]]) == first
    ours = paper.assign(token_subset="all", n_images=50)
    for column in layout.columns:  # what the paper does not print, and our shares of 1
        if column.name not in ours:
            ours[column.name] = 0.0
        elif column.scale != 1:
            ours[column.name] = ours[column.name] / column.scale
    cells = text_cells(ours, paper, layout)
    for column in layout.columns:
        if column.name in paper.columns:
            shown = cells[column.header, "ours"].tolist()
            assert shown == cells[column.header, "paper"].tolist()


def test_the_papers_own_recovered_ce_follows_from_its_columns(resources):
    paper = pd.read_csv(resources / "paper" / "table3.csv")
    again = 100 * (paper.zero_ce - paper.recon_ce) / (paper.zero_ce - paper.ce)
    assert (again - paper.ce_recovered).abs().max() < 0.12  # three printed digits
    assert sorted(paper.layer.unique()) == [0, 1, 2, 3, 4, 5]
    assert sorted(paper.l1_coefficient.unique()) == [1e-5, 5e-5, 8e-5, 1e-4]


def test_names_that_come_with_data_stay_text():
    """Class names and words come from outside: no page runs them, and no table breaks."""
    hostile = "<script>alert(1)</script>"
    table = pd.DataFrame(
        {"name": [hostile, "a|b\nc", "<img src=x onerror=alert(1)>", "[x](javascript:alert(1))"],
         "p": ["<0.0001", "0.5 [0.1, 0.9]", "1", "1"]}
    )  # fmt: skip
    columns = (Column("name", f"Word {hostile}"), Column("p", "p"))
    layout = Layout(columns[:1], columns[1:], f"Words of {hostile}. And.", f"Source: {hostile}")
    page, text = to_html(table, None, layout), to_markdown(table, None, layout)
    for rendered in (page, text):
        assert "<script" not in rendered and "</script" not in rendered and "<img" not in rendered
        assert "&lt;script>" in rendered.replace("&gt;", ">")
    assert html.unescape(page).count(hostile) == 5  # title, caption, header, cell and source
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + len(table)
    assert rows[3] == "| a\\|b c | 0.5 [0.1, 0.9] |"
    assert "| <0.0001 |" in rows[2]  # a number is no tag
    assert "](" not in rows[5]
