"""From rows and bits to the cells of Tables 1 and 5 to 8."""

import numpy as np
import pandas as pd
import pytest

from clip_sae.analyses.shared.groups import Scores, count_correct
from clip_sae.analyses.suppression.answer_bits import Bits, pack
from clip_sae.analyses.suppression.choose import best_on_validation, chosen_sets, strict_rows
from clip_sae.analyses.suppression.intervals import mcnemar
from clip_sae.analyses.suppression.measure_variants import best_layers
from clip_sae.analyses.suppression.paper_tables import condition_rows, condition_table, table1
from clip_sae.analyses.suppression.set_summary import compare, summarise_layer
from clip_sae.files import csv_text, write_output

TRAIN = np.array([70, 4, 2, 24])
GROUP = np.repeat([0, 1, 2, 3], [30, 20, 10, 20])


def answers(seed, accuracy):
    return np.random.default_rng(seed).random(80) < np.asarray(accuracy)[GROUP]


BASE = (0.99, 0.5, 0.6, 0.99)
BETTER = (0.99, 0.9, 0.8, 0.99)


def layer_of(layer=0, saes=("one", "two"), gains=(BETTER, BASE), seed=0):
    """Rows, choices, bits as of `evaluate_layer`: an empty set and one set per kind of units."""
    rows, right, group = [], {"val": [], "test": []}, {"val": GROUP, "test": GROUP}
    total = np.bincount(GROUP)

    def add(units, kind, number, n_units, split, bits, **extra):
        scores = Scores(count_correct(bits, GROUP), total, TRAIN)
        tau = np.inf if n_units == 0 else 0.1
        about = {"layer": layer, "units": units, "kind": kind, "contrast": "plain"}
        about |= {"direction": "a" if n_units else "none", "tokens": "all", "fill": "zero"}
        about |= {"tau_low": tau, "tau_high": tau, "n_units": n_units, "n_all": 64, "mass": 0.1}
        about |= {"set": number, "matches": -1, "seed": -1, "split": split}
        about |= {"bits": len(right[split]), "n_images": 80}
        rows.append({**about, **scores.columns(), **extra})
        right[split].append(bits)

    for i, (units, gain) in enumerate(zip((*saes, "neurons"), (*gains, BASE), strict=True)):
        kind = "neuron" if units == "neurons" else "latent"
        for split in ("val", "test"):
            base = answers(seed + (split == "test"), BASE)
            add(units, kind, 10 * i, 0, split, base)
            more = base | (answers(50 + seed + (split == "test"), gain) & (gain != BASE))
            add(units, kind, 10 * i + 1, 4, split, more)
        for control in range(3):
            extra = {"matches": 10 * i + 1, "seed": control}
            bits = answers(seed + 1, BASE) & (np.arange(80) != control)
            add(units, f"random_{kind}", 10 * i + 2 + control, 4, "test", bits, **extra)
        if kind == "latent":
            for split in ("val", "test"):
                base = answers(seed + (split == "test"), BASE)
                add(units, "neuron_matched", 10 * i + 5, 0, split, base)
                add(units, "neuron_matched", 10 * i + 6, 1, split, base | (np.arange(80) == 31))
    images = {split: np.arange(80) for split in right}
    bits = Bits({s: pack(np.stack(r)) for s, r in right.items()}, images, group, TRAIN)
    return pd.DataFrame(rows), chosen_sets(pd.DataFrame(rows)), bits


@pytest.fixture(scope="module")
def summary():
    parts = [
        summarise_layer(*layer_of(0), n_resamples=200),
        summarise_layer(*layer_of(1, gains=(BASE, BETTER), seed=7), n_resamples=200),
    ]
    return pd.concat(parts, ignore_index=True)


COLUMNS = {"vanilla": "one", "topk_64": "two", "topk_128": "absent"}


def test_summary_holds_the_chosen_set_with_its_pairs(summary):
    rows, _, bits = layer_of(0)
    one = summary[(summary["units"] == "one") & (summary["layer"] == 0)].iloc[0]
    assert one["kind"] == "latent" and one["condition"] == "strict" and one["n_units"] == 4
    rows = rows[(rows["units"] == "one") & rows["kind"].isin(["latent", "random_latent"])]
    test = rows[rows["split"] == "test"].set_index("n_units")
    before = bits.right["test"][test.loc[0, "bits"]]
    after = bits.right["test"][test[test["matches"] == -1].loc[4, "bits"]]
    assert one["worst"] == test[test["matches"] == -1].loc[4, "worst"]
    assert one["base_worst"] == test.loc[0, "worst"]
    assert np.isclose(one["overall_change"], after.mean() - before.mean())
    group = bits.group["test"]
    worst = np.argmin([before[group == g].mean() for g in range(4)])
    target = group == worst
    assert one["worst_group"] == worst and one["n_worst"] == target.sum()
    assert (one["lost"], one["gained"], one["p"]) == mcnemar(before[target], after[target])
    val = rows[rows["split"] == "val"].set_index("n_units")
    assert one["val_worst"] == val.loc[4, "worst"]


def test_nothing_chosen_is_the_baseline(summary):
    two = summary[(summary["units"] == "two") & (summary["layer"] == 0)].iloc[0]
    assert two["n_units"] == 0 and two["worst_change"] == 0 and two["p"] == 1
    assert not ((summary["units"] == "two") & (summary["layer"] == 0) & summary["n_seeds"]).any()


def test_controls_are_means_with_the_range_of_their_seeds(summary):
    rows, _, _ = layer_of(0)
    random = rows[(rows["units"] == "one") & (rows["kind"] == "random_latent")]
    found = summary[(summary["kind"] == "random_latent") & (summary["layer"] == 0)]
    assert (found["n_seeds"] == 3).all() and found["p"].isna().all()
    assert np.allclose(found["worst"], random["worst"].mean())
    assert np.allclose(found["overall_low"], random["overall"].min())
    assert found["val_worst"].isna().all()  # nothing was chosen by it


def test_largest_drop_is_of_another_group_than_the_target():
    before = np.ones(80, bool)
    before[GROUP == 1] = False
    after = np.ones(80, bool)
    after[np.flatnonzero(GROUP == 2)[:3]] = False
    found = compare(before, after, GROUP, TRAIN, n_resamples=100)
    assert found["worst_group"] == 1 and np.isclose(found["largest_drop"], 0.3)
    assert found["gained"] == 20 and found["lost"] == 0


def test_tables_5_to_8_are_sorted_by_part_column_and_layer(summary):
    table = condition_table(summary, "relaxed", COLUMNS)
    assert (table["condition"] == "relaxed").all() and (table["split"] == "test").all()
    latents = table[table["part"] == "SAE latents"]
    assert latents["column"].tolist() == ["vanilla", "vanilla", "topk_64", "topk_64"]
    assert latents["layer"].tolist() == [0, 1, 0, 1]
    assert table["part"].drop_duplicates().tolist() == [
        *("SAE latents", "random latents, as many", "neurons, as large a share", "neurons"),
    ]
    assert set(table.loc[table["part"] == "neurons", "column"]) == {"neurons"}


@pytest.mark.parametrize("condition", ["strict", "relaxed"])
def test_tables_read_from_the_summarys_file_are_the_same_bytes(summary, condition, tmp_path):
    write_output(tmp_path / "summary.csv", summary)
    columns = [list(pair) for pair in COLUMNS.items()]
    found = condition_rows(
        None, summary=tmp_path / "summary.csv", condition=condition, columns=columns
    )
    assert csv_text(found) == csv_text(condition_table(summary, condition, COLUMNS))


def test_numbers_of_all_images_stand_next_to_those_of_a_balanced_choice(summary):
    full = summary[summary["kind"].isin(["latent", "neuron"])].assign(
        split="test_full", worst=0.25, overall=0.75, n_images=900
    )
    table = condition_table(pd.concat([summary, full]), "strict", COLUMNS)
    plain = condition_table(summary, "strict", COLUMNS)
    assert table[plain.columns].equals(plain)
    chosen = table["kind"].isin(["latent", "neuron"])
    assert (table.loc[chosen, "full_worst"] == 0.25).all()
    assert table.loc[~chosen, "full_n_images"].isna().all()


def test_table_1_picks_the_sae_and_the_layer_on_validation(summary):
    latents, saes = strict_rows(summary, "latent"), list(COLUMNS.values())
    picked = {
        layer: best_on_validation(latents[latents["layer"] == layer], saes) for layer in (0, 1, 5)
    }
    assert picked[0]["units"] == "one" and picked[1]["units"] == "two" and picked[5] is None
    table = table1({"birds": summary}, {"birds": COLUMNS}).set_index("layer")
    assert table.index.tolist() == ["Baseline", "0", "1"]
    assert table.loc["0", "birds_sae"] == "vanilla, A, tau 0.1, 4 latents"
    best = best_on_validation(latents, saes)
    assert table["birds_picked"].tolist() == [False, best["layer"] == 0, best["layer"] == 1]
    picked = table.loc[str(best["layer"])]
    assert picked["birds_sae_worst"] == best["worst"] and picked["birds_p"] == best["p"]
    matched = summary[(summary["kind"] == "neuron_matched") & (summary["units"] == best["units"])]
    matched = matched[(matched["layer"] == best["layer"]) & (matched["condition"] == "strict")]
    assert picked["birds_matched_overall"] == matched["overall"].item()
    assert table.loc["Baseline", "birds_neuron_worst"] == summary["base_worst"].iloc[0]


def test_poisoned_test_numbers_change_no_pick(summary):
    table = table1({"birds": summary}, {"birds": COLUMNS})
    poisoned = summary.copy()
    numbers = ["overall", "worst", "group_mean", "adjusted", "p", "worst_change"]
    poisoned[numbers] = np.random.default_rng(0).random((len(summary), len(numbers)))
    again = table1({"birds": poisoned}, {"birds": COLUMNS})
    for name in ("birds_sae", "birds_picked"):
        assert again[name].equals(table[name])


def test_best_layers_of_variants_are_picked_on_validation(summary):
    table = best_layers({"headline": summary, "mean": summary}, "one", [0, 1])
    assert table["case"].value_counts().to_dict() == {"headline": 6, "mean": 6}
    row = table[(table["case"] == "mean") & (table["kind"] == "latent")].iloc[0]
    assert row["where"] == "0"  # at layer 1 nothing helps this SAE
    only = best_layers({"headline": summary}, "one", [1])
    assert (only["where"] == "1").all()
