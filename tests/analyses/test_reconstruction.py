"""Tables 3 and 4: every column against a loop over images, and what must be zero, one or equal."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F

from clip_sae.analyses.shared.reconstruction import reconstruction_table
from clip_sae.analyses.shared.substitution import Readout

LAYER = 0
PARTS = {"all": slice(None), "cls": slice(0, 1), "patch": slice(1, None)}


@pytest.fixture
def clip(make_clip):
    return make_clip(6, 4)


@pytest.fixture
def readouts():
    text = F.normalize(torch.randn(5, 4, generator=torch.Generator().manual_seed(1)), dim=-1)
    return [Readout("", text, 20.0), Readout("scale1", text, 1.0)]


@pytest.fixture
def labels():
    return np.random.default_rng(3).integers(0, 5, 20)


def table(saes, *args, **options):
    saes = saes if isinstance(saes, dict) else {"sae": saes}
    options = {"layer": LAYER, "n_resamples": 50, "progress": False, **options}
    return reconstruction_table(saes, *args, **options)


def embed(clip, x, layer=LAYER):
    return clip.run_from(torch.as_tensor(x, dtype=torch.float32), layer).numpy().astype(np.float64)


def slow_ce(embedding, readout, labels):
    unit = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    total = 0.0
    for image, label in zip(unit, labels, strict=True):
        logits = [readout.scale * float(image @ t) for t in readout.text.numpy().astype(float)]
        total += np.log(sum(np.exp(v) for v in logits)) - logits[label]
    return total / len(unit)


@pytest.mark.parametrize("subset", ["all", "cls", "patch"])
def test_every_column_equals_its_slow_twin(subset, sae, clip, store, labels, readouts, x):
    row = table(sae, clip, store, labels, readouts).set_index("token_subset").loc[subset]
    part, y = PARTS[subset], labels[:11]
    with torch.no_grad():
        x_hat, f = (t.numpy() for t in sae(torch.from_numpy(x.astype(np.float32))))
    own, own_hat, fires = x[:, part], x_hat[:, part], f[:, part] > 0
    rows, rows_hat = own.reshape(-1, 6).astype(float), own_hat.reshape(-1, 6).astype(float)
    error, spread = ((rows - rows_hat) ** 2).sum(1), ((rows - rows.mean(0)) ** 2).sum(1)
    assert row.explained_variance == pytest.approx(1 - error.sum() / spread.sum(), rel=1e-5)
    assert row.explained_variance_prisma == pytest.approx((1 - error / spread).mean(), rel=1e-5)
    cosine = (rows * rows_hat).sum(1) / np.linalg.norm(rows, axis=1)
    cosine /= np.linalg.norm(rows_hat, axis=1)
    assert row.cosine_similarity == pytest.approx(cosine.mean(), rel=1e-5)
    assert row.l0 == pytest.approx(fires.sum(-1).mean())
    assert row.l0_per_image == pytest.approx(fires.sum((1, 2)).mean())
    assert row.distinct_latents_per_image == pytest.approx(
        np.mean([len({j for token in image for j in np.flatnonzero(token)}) for image in fires])
    )
    alive = fires.any((0, 1)).sum()
    assert (row.alive_latents, row.dead_latents, row.d_sae) == (alive, 16 - alive, 16)
    assert (row.n_images, row.n_tokens) == (11, len(rows))

    swapped, zeroed = x.copy(), x.copy()
    swapped[:, part], zeroed[:, part] = x_hat[:, part], 0
    clean, recon = embed(clip, x), embed(clip, swapped)
    cosines = (clean * recon).sum(1) / np.linalg.norm(clean, axis=1) / np.linalg.norm(recon, axis=1)
    assert row.embedding_cosine == pytest.approx(cosines.mean(), rel=1e-5)
    for readout in readouts:
        end = f"_{readout.suffix}" if readout.suffix else ""
        ce, recon_ce = slow_ce(clean, readout, y), slow_ce(recon, readout, y)
        zero = slow_ce(embed(clip, np.zeros_like(x)), readout, y)
        zero_subset = slow_ce(embed(clip, zeroed), readout, y)
        assert row[f"ce{end}"] == pytest.approx(ce, rel=1e-4)
        assert row[f"recon_ce{end}"] == pytest.approx(recon_ce, rel=1e-4)
        assert row[f"zero_ce{end}"] == pytest.approx(zero, rel=1e-4)
        assert row[f"zero_subset_ce{end}"] == pytest.approx(zero_subset, rel=1e-4)
        assert row[f"ce_recovered{end}"] == pytest.approx((zero - recon_ce) / (zero - ce), rel=1e-2)
    right = (clean @ readouts[0].text.numpy().T).argmax(1) == y
    assert row.accuracy == pytest.approx(right.mean())


def test_cls_l0_belongs_to_cls(sae, clip, store, labels, readouts):
    rows = table(sae, clip, store, labels, readouts).set_index("token_subset")
    assert rows.loc["all"].cls_l0 == rows.loc["cls"].cls_l0 == rows.loc["cls"].l0
    assert np.isnan(rows.loc["patch"].cls_l0)
    assert rows.loc["all"].l0_per_image == pytest.approx(
        rows.loc["cls"].l0_per_image + rows.loc["patch"].l0_per_image
    )


@pytest.mark.parametrize("batch_images", [1, 3, 11])
def test_the_batch_size_changes_nothing(batch_images, sae, clip, store, labels, readouts):
    whole = table(sae, clip, store, labels, readouts)
    parts = table(sae, clip, store, labels, readouts, batch_images=batch_images)
    pd.testing.assert_frame_equal(whole, parts, rtol=1e-5)


def test_a_perfect_sae_recovers_everything(make_sae, clip, store, labels, readouts):
    # x = relu(x) − relu(−x): twelve latents, the coordinates and their opposites.
    sae = make_sae(d_sae=12)
    sae.W_dec.copy_(torch.cat([torch.eye(6), -torch.eye(6)]))
    sae.W_enc.copy_(sae.W_dec.T)
    sae.b_enc.zero_()
    sae.b_dec.zero_()
    rows = table(sae, clip, store, labels, readouts)
    for name in ("explained_variance", "cosine_similarity", "embedding_cosine", "ce_recovered"):
        np.testing.assert_allclose(rows[name], 1, atol=1e-5)
    np.testing.assert_allclose(rows.recon_ce, rows.ce, atol=1e-5)
    assert (rows.l0 <= 6).all()


def test_at_the_last_layer_patches_do_not_reach_the_answer(sae, clip, store, labels, readouts):
    rows = table(sae, clip, store, labels, readouts, layer=2).set_index("token_subset")
    patch = rows.loc["patch"]
    assert patch.recon_ce == patch.ce == patch.zero_subset_ce
    assert patch.embedding_cosine == pytest.approx(1)
    assert patch.ce_recovered == pytest.approx(1)  # trivially: see the next column
    assert np.isnan(patch.ce_recovered_subset)
    assert rows.loc["all"].recon_ce == rows.loc["cls"].recon_ce
    # Every token zeroed gives one embedding for all images.
    assert rows.loc["all"].zero_ce == pytest.approx(
        slow_ce(np.tile(clip.bias.numpy().astype(float), (11, 1)), readouts[0], labels[:11]),
        rel=1e-4,
    )


def test_a_cosine_of_scale_1_zeroed_comes_near_the_papers_ln_of_classes(
    sae, clip, store, labels, readouts
):
    row = table(sae, clip, store, labels, readouts, layer=2).iloc[0]
    assert row.zero_ce_scale1 == pytest.approx(np.log(5), abs=1.0)
    assert row.ce_scale1 != pytest.approx(row.ce, abs=0.05)


def test_mlp_out_is_replaced_inside_the_residual_stream(sae, clip, make_store, labels, readouts, x):
    resid = np.random.default_rng(9).normal(size=x.shape).astype(np.float32)
    stores = make_store(resid), make_store(x)
    rows = table(
        sae, clip, stores[0], labels, readouts, hook="mlp_out", hook_store=stores[1]
    ).set_index("token_subset")
    y = labels[:11]
    assert rows.loc["all"].ce == pytest.approx(
        slow_ce(embed(clip, resid), readouts[0], y), rel=1e-4
    )
    zero = slow_ce(embed(clip, resid - x), readouts[0], y)
    assert rows.loc["all"].zero_ce == pytest.approx(zero, rel=1e-4)
    with torch.no_grad():
        x_hat = sae(torch.from_numpy(x.astype(np.float32))).x_hat.numpy()
    changed = resid.copy()
    changed[:, 0] += (x_hat - x)[:, 0]
    recon = slow_ce(embed(clip, changed), readouts[0], y)
    assert rows.loc["cls"].recon_ce == pytest.approx(recon, rel=1e-4)


def test_labels_follow_the_source_index(sae, clip, make_store, labels, readouts, x):
    order = np.random.default_rng(0).permutation(20)[:11]
    moved = table(sae, clip, make_store(x, order), labels, readouts).iloc[0]
    own = table(sae, clip, make_store(x), labels[order], readouts).iloc[0]
    assert moved.ce == own.ce


def test_several_saes_share_a_pass_and_do_not_touch_each_other(
    sae, make_sae, clip, store, labels, readouts
):
    other = make_sae(architecture="topk", k=3, seed=5)
    both = table({"a": sae, "b": other}, clip, store, labels, readouts)
    alone = table({"b": other}, clip, store, labels, readouts)
    pd.testing.assert_frame_equal(both[both.sae == "b"].reset_index(drop=True), alone)
    assert (alone.l0 <= 3).all()


def test_intervals_hold_their_estimates(sae, clip, store, labels, readouts):
    rows = table(sae, clip, store, labels, readouts, n_resamples=400)
    names = [c[:-4] for c in rows.columns if c.endswith("_low")]
    wanted = {"explained_variance", "l0", "ce", "recon_ce", "ce_recovered", "ce_recovered_scale1"}
    assert wanted <= set(names)
    for name in names:
        assert (rows[f"{name}_low"] <= rows[name] + 1e-9).all(), name
        assert (rows[name] <= rows[f"{name}_high"] + 1e-9).all(), name


def test_mistakes_are_named(sae, make_sae, clip, store, make_store, labels, readouts, x):
    with pytest.raises(ValueError, match="hook 'mlp_out' with hook_store absent: pass hook_store"):
        table(sae, clip, store, labels, readouts, hook="mlp_out")
    with pytest.raises(ValueError, match="hold different images or another order"):
        moved = make_store(x, np.arange(11)[::-1])
        table(sae, clip, store, labels, readouts, hook="mlp_out", hook_store=moved)
    with pytest.raises(ValueError, match="refers to manifest row 10, but there are 4 labels"):
        table(sae, clip, store, labels[:4], readouts)
    with pytest.raises(ValueError, match="token subset 'patches' does not exist; write all, cls"):
        table(sae, clip, store, labels, readouts, subsets=["patches"])
    with pytest.raises(ValueError, match="the SAE reads d_model 8"):
        table(make_sae(d_model=8), clip, store, labels, readouts)
