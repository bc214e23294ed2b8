"""The printed tables of suppression, next to the paper's cells."""

from pathlib import Path

import pandas as pd
import pytest

from clip_sae.analyses.suppression.paper_tables import PARTS
from clip_sae.analyses.suppression.render import condition_table, table1

PAPER = Path(__file__).resolve().parents[2] / "workflow/resources/paper"
# Images and images of the worst group in the paper's test sets.
SIZES = {5: (720, 180), 6: (720, 180), 7: (5794, 642), 8: (5794, 642)}


def is_count(percent: float, n: int) -> bool:
    """Return True if a printed percentage is that of a whole number of n images."""
    return any(
        abs(100 * k / n - percent) <= 0.00501
        for k in range(int(percent * n / 100) - 1, int(percent * n / 100) + 3)
    )


@pytest.mark.parametrize("number", SIZES)
def test_every_cell_of_the_paper_is_a_number_of_images(number):
    table = pd.read_csv(PAPER / f"table{number}.csv")
    n, n_worst = SIZES[number]
    for row in table.itertuples():
        assert is_count(row.overall, n), row
        assert is_count(row.worst, n_worst), row
    assert not table.duplicated(["part", "column", "layer"]).any()
    assert set(table["part"]) <= set(PARTS.values())
    full = table[table["column"] == "vanilla"]
    assert len(full) == 2 * 12 and (table["part"] == "neurons").sum() == 12


def test_table_1_of_the_paper_is_the_best_of_its_tables_5_and_7():
    """CelebA's cells are those of one SAE; Waterbirds' layers 0 and 2 mix columns of two."""
    table = pd.read_csv(PAPER / "table1.csv").set_index("layer")
    for name, number, mixed in (("celeba", 5, []), ("waterbirds", 7, [0, 2])):
        full = pd.read_csv(PAPER / f"table{number}.csv")
        latents = full[full["part"] == "SAE latents"]
        neurons = full[full["part"] == "neurons"].set_index("layer")
        for layer in range(12):
            cell = table.loc[str(layer)]
            assert cell[f"{name}_neuron_overall"] == neurons.loc[layer, "overall"]
            own = latents[latents["layer"] == layer]
            assert cell[f"{name}_sae_worst"] == own["worst"].max()
            pairs = set(zip(own["overall"], own["worst"], strict=True))
            pair = cell[f"{name}_sae_overall"], cell[f"{name}_sae_worst"]
            assert (pair in pairs) == (layer not in mixed), (name, layer)


def condition_rows():
    row = {"part": "SAE latents", "column": "vanilla", "layer": 7, "direction": "a"}
    row |= {
        "tau_low": 0.04,
        "tau_high": 0.05,
        "n_units": 12,
        "val_worst": 0.8,
        "n_images": 720,
        "n_worst": 180,
    }
    row |= {"base_overall": 0.9278, "base_worst": 0.7778, "n_seeds": 0, "overall": 0.931}
    row |= {"overall_low": 0.92, "overall_high": 0.94, "worst": 0.8, "worst_low": 0.75}
    row |= {"worst_high": 0.85, "worst_change": 0.0222, "worst_change_low": 0.0}
    row |= {"worst_change_high": 0.05, "lost": 1, "gained": 5, "p": 0.00001, "largest_drop": 0.01}
    random = row | {"part": "random latents, as many", "n_seeds": 5, "p": float("nan")}
    empty = row | {"layer": 8, "n_units": 0, "direction": "none", "tau_high": 0.7, "p": 1.0}
    return pd.DataFrame([row, empty, random])


def test_tables_5_to_8_print_ours_next_to_the_paper_s(csv):
    pages = condition_table(
        None, csv=csv(condition_rows()), paper=PAPER / "table5.csv", table="table5",
        condition="strict", dataset="celeba", model="demo", points=0.04,
    )  # fmt: skip
    text = pages["md"]
    assert "Table 5. celeba, strict condition" in text and "92.78" in text and "5 seeds" in text
    line = next(
        line for line in text.splitlines() if line.startswith("| SAE latents | vanilla | 7")
    )
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert "93.10 [92.00, 94.00]" in cells and "93.06" in cells  # ours, the paper's
    assert "80.00 [75.00, 85.00]" in cells and "80.56" in cells
    assert "<0.0001" in cells and "0.0500" in cells
    empty = next(
        line for line in text.splitlines() if line.startswith("| SAE latents | vanilla | 8")
    )
    assert "0.7000" not in empty and "| none |" in empty
    assert "<table>" in pages["html"]


def test_the_relaxed_rule_says_how_much_others_may_lose(csv):
    text = condition_table(
        None, csv=csv(condition_rows()), paper=None, table="table6", condition="relaxed",
        dataset="celeba", model="demo", points=0.02,
    )["md"]  # fmt: skip
    assert "losing more than 2 points" in text and "Paper: " in text and "Table 6." in text


def test_table_1_marks_the_picked_layer(csv):
    table = pd.DataFrame(
        {
            "layer": ["Baseline", "0"],
            **{
                f"birds_{k}_{s}": [0.5, 0.6]
                for k in ("neuron", "sae", "matched")
                for s in ("overall", "worst")
            },
            "birds_sae": [None, "vanilla, A, tau 0.1, 4 latents"],
            "birds_p": [float("nan"), 0.2],
            "birds_worst_change": [float("nan"), 0.1],
            "birds_largest_drop": [float("nan"), 0.02],
            "birds_picked": [False, True],
        }
    )
    paths = {"csv": csv(table), "paper": PAPER / "table1.csv"}
    text = table1(None, **paths, sets=["birds"], model="demo")["md"]
    assert "4 latents *" in text and "| Baseline |" in text
