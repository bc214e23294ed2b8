"""Table 2 as printed: every defence by its name, controls averaged, the paper beside."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from clip_sae.analyses.typographic.render_table import DEFENCES, LAYOUTS, beside, printed, setting
from clip_sae.plotting.tables import described, read_paper, to_html, to_markdown


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


def test_rows_stand_in_the_order_of_the_defences_and_controls_are_averaged(table):
    rows = printed(table)
    whole = rows[(rows["dataset"] == "ours") & (rows["images"] == "all")].set_index("defence")
    names = [DEFENCES[name] for name in ("none", "sae", "dp+sae", "random")]
    assert whole.index.tolist() == names
    assert whole.loc[DEFENCES["random"], "accuracy"] == pytest.approx(0.41)
    assert np.isnan(whole.loc[DEFENCES["random"], "accuracy_low"]), "no interval of another number"
    assert np.isnan(whole.loc[DEFENCES["none"], "gain"])
    assert rows["dataset"].drop_duplicates().tolist() == ["ours", "clean"]
    assert rows["images"].drop_duplicates().tolist() == ["all", "with a word"]


def test_the_papers_numbers_stand_beside_all_images_only(table, tmp_path):
    path = tmp_path / "table2.csv"
    path.write_text(
        "paper_set,defence,accuracy\nrta100,none,0.66\nrta100,dp,0.73\npaint,none,0.63\n"
    )
    paper = beside(read_paper(path), {"ours": "rta100"})
    layout = described(LAYOUTS["all_classes"], model="demo", setting=setting(CHOICE))
    text = to_markdown(printed(table), paper, layout)
    lines = [line for line in text.splitlines() if line.startswith("| ours | all | no defence")]
    assert len(lines) == 1 and "| 0.440 [0.400, 0.480] | 0.660 |" in lines[0]
    assert text.count("0.66") == 1 and "0.63" not in text
    assert "43 latents of a, τ = 0.0701, λ = 0.6" in text
    assert "<table>" in to_html(printed(table), paper, layout)


def test_a_table_without_the_papers_columns_is_rendered_alone(table):
    layout = described(LAYOUTS["two_way"], model="demo", setting=setting(CHOICE))
    assert "(paper)" not in to_markdown(printed(table), None, layout)
    nothing = beside(pd.DataFrame({"paper_set": [], "defence": [], "accuracy": []}), {})
    assert nothing.empty


def test_a_choice_of_nothing_is_said():
    assert "no latents" in setting(CHOICE.assign(n_units=0))


def test_a_defence_without_a_name_is_refused(table):
    with pytest.raises(ValueError, match="defence 'magic' has no name; there are: none, dp, sae"):
        printed(table.replace({"defence": {"sae": "magic"}}))


def test_the_papers_table_2_is_whole():
    resources = Path(__file__).resolve().parents[2] / "workflow/resources/paper"
    paper = read_paper(resources / "table2.csv")
    assert len(paper) == 12 and paper["accuracy"].between(0.5, 0.9).all()
    assert set(paper["defence"]) <= DEFENCES.keys()
