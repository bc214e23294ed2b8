"""Ablated runs on a small tower: edits, nested sets, planted latents, images of the selection."""

import numpy as np
import pandas as pd
import pytest
import torch
from clip_towers import images_of, sae_for
from plain_edits import set_coordinates, set_latents
from tiny_clip import tiny_source
from torch.nn import functional as F

from clip_sae.analyses.shared.chunks import Chunks
from clip_sae.analyses.shared.edits import reaches_output
from clip_sae.analyses.shared.groups import Groups
from clip_sae.analyses.shared.names import NEURONS
from clip_sae.analyses.shared.store_images import StoreImages
from clip_sae.analyses.shared.unit_sets import (
    Family,
    chosen_units,
    single_set,
    threshold_family,
    threshold_grid,
)
from clip_sae.analyses.shared.units import Latents, Neurons
from clip_sae.analyses.suppression.answer_bits import read_bits, write_bits
from clip_sae.analyses.suppression.choose import choose, chosen_sets
from clip_sae.analyses.suppression.evaluate_suppression import (
    EditedLayer,
    evaluate_layer,
    evaluate_part,
)
from clip_sae.analyses.suppression.evaluated_sets import SetOptions
from clip_sae.analyses.suppression.measure_contrast import measure_contrasts
from clip_sae.analyses.suppression.set_answers import Answers
from clip_sae.clip.model import load_clip

CHOSEN = ["latent", "neuron", "neuron_matched"]
CPU = torch.device("cpu")
LAYERS = (0, 1, 2)


@pytest.fixture(scope="module")
def residuals(tiny):
    """The residual of every layer for 48 random images."""
    with torch.inference_mode():
        found = tiny.run_to(images_of(tiny, 48), LAYERS)
    return {layer: found["resid_post", layer].clone() for layer in LAYERS}


@pytest.fixture(scope="module")
def text():
    generator = torch.Generator().manual_seed(3)
    return F.normalize(torch.randn(2, 8, generator=generator), dim=-1)


@pytest.fixture
def groups():
    rng = np.random.default_rng(0)
    label, attribute = rng.integers(0, 2, (2, 48))
    label[::4], attribute[::4] = np.tile([0, 0, 1, 1], 3), np.tile([0, 1, 0, 1], 3)
    return Groups(label, attribute)


def small_sae(x, architecture="vanilla"):
    return sae_for(x, architecture, k=6 if architecture == "topk" else None)


def nested(units, x, order, sizes):
    return list(units.on(x).nested(np.asarray(order), sizes))


@pytest.mark.parametrize("architecture", ["vanilla", "topk"])
def test_nested_sets_equal_each_set_ablated_alone(residuals, architecture):
    x = residuals[1]
    sae = small_sae(x, architecture)
    order, sizes = np.random.default_rng(0).permutation(48), (0, 1, 5, 20, 48)
    for size, ablated in zip(sizes, nested(Latents(sae), x, order, sizes), strict=True):
        expected = set_latents(x, sae, order[:size].copy())
        assert torch.allclose(ablated, expected, atol=1e-4), size
    for size, ablated in zip(sizes[:4], nested(Neurons(32), x, order % 32, sizes[:4]), strict=True):
        expected = set_coordinates(x, np.unique(order[:size] % 32), 0.0) if size else x
        assert torch.equal(ablated, expected), size


def test_mean_ablation_sets_units_to_their_mean(residuals):
    x = residuals[1]
    sae, order = small_sae(x), np.arange(10)
    fill = torch.rand(48)
    [ablated] = nested(Latents(sae, fill), x, order, (10,))
    assert torch.allclose(ablated, set_latents(x, sae, order, fill[:10]), atol=1e-4)
    [ablated] = nested(Neurons(32, torch.rand(32)), x, order, (10,))
    assert (ablated[..., :10] == ablated[0, 0, :10]).all() and torch.equal(
        ablated[..., 10:], x[..., 10:]
    )


def answers_of(tiny, layer, residuals, text, groups, make_store, units):
    tokens = reaches_output(tiny, layer)
    images = StoreImages(make_store(residuals[layer]), tokens=tokens, batch_images=16)
    return Answers(tiny, layer, text, images, groups, units)


@pytest.mark.parametrize("layer", LAYERS)
def test_ablating_nothing_is_the_clean_model_bit_for_bit(
    tiny, layer, residuals, text, groups, make_store
):
    x = residuals[layer]
    for units in (Latents(small_sae(x)), Neurons(32)):
        [same] = nested(units, x, np.arange(5), (0,))
        assert torch.equal(same, x)
    answers = answers_of(tiny, layer, residuals, text, groups, make_store, Latents(small_sae(x)))
    answers.run([single_set(np.array([], dtype=int))])
    with torch.inference_mode():
        embeddings = torch.cat([tiny.run_from(part, layer) for part in x.split(16)])
        predicted = (embeddings @ text.T).argmax(-1).numpy()
    assert np.array_equal(answers.of([]), predicted == groups.label)


@pytest.mark.parametrize("layer", LAYERS)
def test_answers_are_those_of_the_general_intervention(
    tiny, layer, residuals, text, groups, make_store
):
    x, sae = residuals[layer], small_sae(residuals[layer])
    answers = answers_of(tiny, layer, residuals, text, groups, make_store, Latents(sae))
    family = threshold_family(np.linspace(1, -1, 48), threshold_grid(0.1, 1, 5), "a")
    answers.run([family])
    assert len(family) > 3
    for i in range(len(family)):
        with torch.inference_mode():
            embedding = tiny.run_from(set_latents(x, sae, family.units(i)), layer)
            predicted = (embedding @ text.T).argmax(-1).numpy()
        assert np.array_equal(answers.of(family.units(i)), predicted == groups.label)


def test_cls_alone_is_refused_where_other_tokens_matter(tiny, residuals, text, groups, make_store):
    images = StoreImages(make_store(residuals[1]), tokens="cls")
    with pytest.raises(ValueError, match="last_layer_tokens: all"):
        Answers(tiny, 1, text, images, groups, Neurons(32))


def test_a_set_runs_once_however_many_ask_for_it(tiny, residuals, text, groups, make_store):
    class Counting(Latents):
        n = 0

        def on(self, x):
            batch, units = super().on(x), self

            class Batch:
                def nested(self, order, sizes):
                    for found in batch.nested(order, sizes):
                        units.n += 1
                        yield found

            return Batch()

    units = Counting(small_sae(residuals[1]))
    answers = answers_of(tiny, 1, residuals, text, groups, make_store, units)
    order = np.arange(48)
    one = Family("a", order, (0, 2, 5), (1, 1, 1), (1, 1, 1))
    two = Family("both", np.r_[1, 0, order[2:]], (0, 2, 7), (1, 1, 1), (1, 1, 1))
    answers.run([one, two])
    assert answers.n_runs == 4  # {}, {0, 1}, {0…4}, {0…6}
    assert units.n == 4 * 3  # three batches of 16
    answers.run([one, two, single_set(np.array([1, 0]))])
    assert units.n == 4 * 3
    assert np.array_equal(answers.of([0, 1]), answers.of([1, 0]))


# --- a planted attribute --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A tower whose embedding is the normed residual itself."""
    model = load_clip(tiny_source(tmp_path_factory.mktemp("plain"), embed_dim=32), device="cpu")
    model.visual.proj.data.copy_(torch.eye(32))
    return model


class Planted:
    """Images whose attribute is written along latents 3 and 7 of an SAE, and moves the answer.

    Class 1 is answered where coordinates 0, 3 and 7 are high. Coordinate 0 tells the class; with
    the attribute the planted ones are so high that the answer is 1, whatever the class.
    """

    planted = (3, 7)

    def __init__(self, seed=0, n=240):
        rng = np.random.default_rng(seed)
        self.label = np.tile([0, 0, 1, 1], n // 4)
        self.attribute = np.tile([0, 1, 0, 1], n // 4)
        x = rng.normal(size=(n, 5, 32)).astype(np.float32) * 0.05
        x[:, 0, 0] += np.where(self.label == 1, 1.0, -1.0) + rng.normal(size=n) * 0.1
        for latent in self.planted:
            x[:, :, latent] += (1.0 + rng.random((n, 1))) * self.attribute[:, None]
        self.x = x
        self.sae = planted_sae()
        up = torch.zeros(32)
        up[[0, *self.planted]] = 1.0
        self.text = F.normalize(torch.stack([-up, up]), dim=-1)

    @property
    def groups(self):
        return Groups(self.label, self.attribute)


def planted_sae():
    """Latent j is coordinate j, above 0.05: all are alive."""
    from clip_sae.sae import Sae

    sae = Sae(32, 32, "vanilla")
    sae.W_enc.copy_(torch.eye(32))
    sae.W_dec.copy_(torch.eye(32))
    sae.b_enc.fill_(-0.05)
    return sae


def evaluate(*arguments, **options):
    """Rows, bits and contrasts of `evaluated`."""
    rows, _, bits, contrasts = evaluated(*arguments, **options)
    return rows, bits, contrasts


def evaluated(plain, world, make_store, x_test=None, parts=None, **options):
    """Run the last layer of a planted world: a third each for train, val, and test.

    Returns rows, what is chosen, bits, contrasts.
    """
    rows = np.arange(len(world.x)) // 4 % 3
    at = [np.flatnonzero(rows == part) for part in range(3)]
    test = world.x if x_test is None else x_test
    arrays = [world.x[at[0]], world.x[at[1]], test[at[2]]]
    images = [
        StoreImages(make_store(array, source_index=index), tokens="cls", batch_images=32)
        for array, index in zip(arrays, at, strict=True)
    ]
    units = {"planted": Latents(world.sae), NEURONS: Neurons(32)}
    contrasts = measure_contrasts(images[0], world.groups, units, device=CPU, progress=False)
    settings = SetOptions(
        taus=tuple(threshold_grid(0.05, 1.0, 6)),
        tokens="cls",
        **{"directions": ("a", "not_a", "both"), "seeds": 3} | options,
    )
    layer = EditedLayer(
        plain, 2, world.text, {"val": images[1], "test": images[2]}, world.groups,
        {"planted": world.sae}, contrasts, contrasts[NEURONS].n_images,
    )  # fmt: skip
    if parts is not None:
        for k in reversed(range(len(layer.kinds))):
            evaluate_part(layer, settings, parts, [k], progress=False)
    return (*evaluate_layer(layer, settings, chunks=parts, progress=False), contrasts)


def chosen_of(rows, units, condition="strict"):
    own = rows[(rows["units"] == units) & rows["kind"].isin(["latent", "neuron"])]
    return own.loc[choose(own, condition)], own


def test_planted_latents_are_found_and_their_ablation_helps_the_worst_group(plain, make_store):
    world = Planted()
    rows, _, contrasts = evaluate(plain, world, make_store)
    chosen, own = chosen_of(rows, "planted")
    assert chosen_units(contrasts["planted"], chosen).tolist() == list(world.planted)
    test = own[own["split"] == "test"].set_index("n_units")
    assert test.loc[0, "worst"] < 0.3 and test.loc[2, "worst"] > 0.9
    random = rows[(rows["kind"] == "random_latent") & (rows["matches"] == chosen["set"])]
    assert len(random) == 3 and random["worst"].max() < 0.5
    assert (rows.loc[rows["direction"] == "not_a", "split"] == "val").all()  # never chosen


def test_kinds_evaluated_by_several_jobs_in_any_order_give_the_same_rows(
    plain, make_store, tmp_path
):
    whole, bits, _ = evaluate(plain, Planted(), make_store)
    split, split_bits, _ = evaluate(plain, Planted(), make_store, parts=Chunks(tmp_path, "data"))
    assert len(list(tmp_path.glob("*.npz"))) == 2  # the SAE's latents, and neurons
    pd.testing.assert_frame_equal(whole, split, check_exact=True)
    for name in bits.right:
        assert np.array_equal(bits.right[name], split_bits.right[name])
    assert whole["set"].nunique() == whole["set"].max() + 1  # numbered on, none twice


def test_what_is_chosen_is_recorded_and_follows_from_the_rows(plain, make_store, tmp_path):
    rows, chosen, _, _ = evaluated(plain, Planted(), make_store, parts=Chunks(tmp_path, "data"))
    rows.to_csv(tmp_path / "rows.csv", index=False)
    again = chosen_sets(pd.read_csv(tmp_path / "rows.csv"))
    keys = ["units", "kind", "condition"]
    pd.testing.assert_frame_equal(
        chosen.sort_values(keys, ignore_index=True), again.sort_values(keys, ignore_index=True)
    )
    tested = rows[(rows["split"] == "test") & (rows["matches"] < 0)]
    assert set(chosen["set"]) <= set(tested["set"])


def test_rows_agree_with_their_bits(plain, make_store, tmp_path):
    rows, bits, _ = evaluate(plain, Planted(), make_store)
    write_bits(tmp_path / "bits.npz", bits)
    bits = read_bits(tmp_path / "bits.npz")
    for _, row in rows.iterrows():
        right, group = bits.right[row["split"]][row["bits"]], bits.group[row["split"]]
        assert row["overall"] == right.mean() and row["n_images"] == len(right)
        for g in range(4):
            assert row[f"right_{g}"] == right[group == g].sum()
            assert row[f"n_{g}"] == (group == g).sum()
    assert not rows.duplicated(["set", "split"]).any()


def test_selection_never_reads_the_test_split(plain, make_store):
    world = Planted()
    clean, _, _ = evaluate(plain, world, make_store)
    poison = np.random.default_rng(9).normal(size=world.x.shape).astype(np.float32) * 50
    poisoned, _, _ = evaluate(plain, world, make_store, x_test=poison)
    val = ["set", "kind", "direction", "tau_low", "tau_high", "n_units", "overall", "worst"]
    first, second = (rows.loc[rows["split"] == "val", val] for rows in (clean, poisoned))
    assert first.equals(second)
    tested = [
        rows.loc[rows["split"] == "test", ["units", "kind", "direction", "n_units", "seed"]]
        for rows in (clean, poisoned)
    ]
    assert tested[0].equals(tested[1])  # the same sets went to the test
    assert not clean.loc[clean["split"] == "test", "overall"].equals(
        poisoned.loc[poisoned["split"] == "test", "overall"]
    )


def test_the_whole_grid_goes_to_the_test_only_when_asked(plain, make_store):
    world = Planted()
    few, _, _ = evaluate(plain, world, make_store)
    all_, _, _ = evaluate(plain, world, make_store, grid_on_test=True)
    n_val = ((few["split"] == "val") & few["kind"].isin(CHOSEN)).sum()
    targets = all_[(all_["split"] == "test") & all_["kind"].isin(CHOSEN)]
    assert len(targets) == n_val
    assert (all_["kind"] == "random_neuron").sum() > (few["kind"] == "random_neuron").sum()
    both = ["units", "kind", "direction", "tau_low", "n_units", "overall", "worst"]
    shared = few.loc[(few["split"] == "val"), both].reset_index(drop=True)
    same = all_[(all_["split"] == "val") & all_["kind"].isin(CHOSEN)]
    assert shared.equals(same[both].reset_index(drop=True))


def test_controls_match_in_number_and_mass_and_do_not_depend_on_other_saes(plain, make_store):
    world = Planted()
    rows, _, _ = evaluate(plain, world, make_store)
    chosen, _ = chosen_of(rows, "planted")
    controls = rows[rows["matches"] == chosen["set"]]
    number = controls[controls["kind"] == "random_latent"]
    assert (number["n_units"] == chosen["n_units"]).all() and number["seed"].tolist() == [0, 1, 2]
    again, _, _ = evaluate(plain, world, make_store, directions=("a",))
    chosen, _ = chosen_of(again, "planted")
    other = again[(again["matches"] == chosen["set"]) & (again["kind"] == "random_latent")]
    assert other["overall"].tolist() == number["overall"].tolist()


def test_neurons_in_the_latents_place_are_chosen_by_themselves(plain, make_store):
    rows, _, contrasts = evaluate(plain, Planted(), make_store)
    matched = rows[(rows["units"] == "planted") & (rows["kind"] == "neuron_matched")]
    label = choose(matched, "strict")
    # Latents are the coordinates here, so both find the same ones.
    assert chosen_units(contrasts[NEURONS], matched.loc[label]).tolist() == [3, 7]
    assert (matched[matched["split"] == "test"]["n_units"]).tolist() == [0, 2]


def test_mass_matched_sets_have_the_mass(plain, make_store):
    world = Planted()
    rows, _, _ = evaluate(plain, world, make_store, directions=("a",), grid_on_test=True)
    sets = rows[rows["kind"].isin(["latent", "neuron"])].drop_duplicates("set").set_index("set")
    matched = rows[rows["kind"].str.endswith("_mass")]
    assert len(matched) > 0
    target = sets.loc[matched["matches"], "mass"].to_numpy()
    assert (np.abs(matched["mass"] - target) <= 0.05 * target + 1e-9).all()


# --- which images are read ------------------------------------------------------------------------


def test_chosen_rows_are_read_in_the_store_s_order(residuals, make_store):
    x = residuals[1].numpy()
    order = np.random.default_rng(0).permutation(48)
    store = make_store(x[order], source_index=order)  # manifest row r holds image r
    rows = np.array([3, 40, 17, 5, 29, 8, 41])
    images = StoreImages(store, rows, batch_images=3)
    assert sorted(images.rows) == sorted(rows) and len(images) == 7
    read = torch.cat([part for _, part in images.batches(CPU)])
    assert np.array_equal(read.numpy(), x[images.rows])
    cls = StoreImages(store, rows, tokens="cls")
    assert next(cls.batches(CPU))[1].shape == (7, 1, 32)


def test_rows_of_another_split_are_refused(residuals, make_store):
    store = make_store(residuals[1], source_index=np.arange(48))
    with pytest.raises(ValueError, match="lacks 1 of the 2 requested images, e.g. manifest row 48"):
        StoreImages(store, np.array([3, 48]))
