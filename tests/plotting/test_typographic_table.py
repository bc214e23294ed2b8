"""Table 2 as printed: every defence by its name, controls averaged, next to the paper."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from clip_sae.analyses.typographic.render import DEFENCES, typographic_table


def rows_of(dataset: str, subset: str, accuracies: dict[str, float]) -> pd.DataFrame:
    rows = pd.DataFrame({"defence": list(accuracies), "accuracy": list(accuracies.values())})
    rows = rows.assign(
        dataset=dataset, subset=subset, n_images=500, n_units=40, text_confusion=0.4,
        interaction=np.nan, gain=rows["accuracy"] - 0.44,
        gain_over_sae=rows["accuracy"] - 0.74, gain_over_dp=np.nan,
    )  # fmt: skip
    return rows.assign(accuracy_low=rows["accuracy"] - 0.04, accuracy_high=rows["accuracy"] + 0.04)


@pytest.fixture
def table():
    found = {"dp+sae": 0.82, "none": 0.44, "sae": 0.74, "random_0": 0.40, "random_1": 0.42}
    return pd.concat(
        [rows_of("ours", "attacked", found), rows_of("ours", "all", found),
         rows_of("clean", "all", {"none": 0.99, "sae": 0.98})],
        ignore_index=True,
    )  # fmt: skip


CHOICE = pd.DataFrame(
    {
        "kind": ["latents", "latents", "neurons"],
        "label": ["b", "a", "neurons"],
        "chosen": [False, True, True],
        "tau": [0.1, 0.0701, 0.2],
        "lambda": [1.0, 0.6, 1.0],
        "n_units": [3, 43, 5],
    }
)


@pytest.fixture
def rendered(table, csv):
    def render(protocol="all_classes", table=table, choice=CHOICE, paper=None, paper_sets=None):
        return typographic_table(
            None, csv=csv(table), choice=csv(choice), paper=paper, protocol=protocol,
            model="demo", paper_sets=paper_sets or {},
        )  # fmt: skip

    return render


def cells(text, start):
    [line] = [line for line in text.splitlines() if line.startswith(start)]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_rows_stand_in_the_order_of_the_defences_and_controls_are_averaged(rendered):
    text = rendered()["md"]
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ours | all |")]
    names = [DEFENCES[name] for name in ("none", "sae", "dp+sae", "random")]
    assert [row[2] for row in rows] == names
    assert rows[3][5] == "0.410"  # without an interval: those of single sets are of other numbers
    assert rows[0][6] == "–"  # no gain of no defence
    assert (
        text.index("| ours | all |") < text.index("| ours | with a word |") < text.index("| clean")
    )


def test_the_papers_numbers_stand_next_to_all_images_only(rendered, csv):
    paper = {"paper_set": ["rta100", "rta100", "paint"], "defence": ["none", "dp", "none"]}
    paper = csv(pd.DataFrame(paper | {"accuracy": [0.66, 0.73, 0.63]}))
    pages = rendered(paper=paper, paper_sets={"ours": "rta100"})
    assert cells(pages["md"], "| ours | all | no def")[5:7] == ["0.440 [0.400, 0.480]", "0.660"]
    assert pages["md"].count("0.66") == 1 and "0.63" not in pages["md"]
    assert "43 latents of a, τ = 0.0701, λ = 0.6" in pages["md"]
    assert "<table>" in pages["html"]
    assert "0.66" not in rendered(paper=paper)["md"]  # no set of ours is the paper's


def test_a_table_without_the_papers_columns_is_rendered_alone(rendered):
    assert "(paper)" not in rendered("two_way")["md"]


def test_a_choice_of_nothing_is_said(rendered):
    assert "no latents" in rendered(choice=CHOICE.assign(n_units=0))["md"]


def test_a_defence_without_a_name_is_refused(rendered, table):
    odd = table.replace({"defence": {"sae": "magic"}})
    with pytest.raises(ValueError, match="defence 'magic' has no name; there are: none, dp, sae"):
        rendered(table=odd)


def test_the_papers_table_2_is_whole():
    resources = Path(__file__).resolve().parents[2] / "workflow/resources/paper"
    paper = pd.read_csv(resources / "table2.csv")
    assert len(paper) == 12 and paper["accuracy"].between(0.5, 0.9).all()
    assert set(paper["defence"]) <= DEFENCES.keys()
