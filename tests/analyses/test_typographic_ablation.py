"""Ablation by chains of sets, and the sweep over them, against the intervention by the book."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from plain_edits import set_coordinates, set_latents
from torch.nn import functional as F

from clip_sae.analyses.shared.edited_embeddings import LayerSet, embeddings_without, over_chain
from clip_sae.analyses.shared.edits import reaches_output
from clip_sae.analyses.shared.pairs import PairedImages
from clip_sae.analyses.shared.units import Latents, Neurons
from clip_sae.analyses.typographic.candidates import NO_CLOSURE, candidates
from clip_sae.analyses.typographic.sweep_typographic import sweep_table

D = 32
LAST = 2


@pytest.fixture
def images():
    return torch.randn(9, 5, D, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=["latents", "neurons"])
def units(request, make_sae):
    return Latents(make_sae(D, 48, input_norm="layer_norm")) if request.param == "latents" else (
        Neurons(D)
    )  # fmt: skip


def by_the_book(x, units, chosen):
    chosen = np.asarray(chosen)
    if isinstance(units, Latents):
        return set_latents(x, units.sae, chosen)
    return set_coordinates(x, chosen, 0.0)


def ablated_embeddings(model, x, layer, units, chosen):
    return embeddings_without(model, layer, x, [LayerSet(layer, units, chosen)])


@pytest.mark.parametrize("layer", [0, LAST])
def test_ablation_is_the_intervention(tiny, images, units, layer):
    chosen = np.array([0, 3, 17, 29])
    ours = ablated_embeddings(tiny, images, layer, units, chosen)
    expected = F.normalize(tiny.run_from(by_the_book(images, units, chosen), layer), dim=-1)
    torch.testing.assert_close(ours, expected.detach(), rtol=0, atol=1e-5)


def test_ablating_nothing_is_the_clean_model_to_the_bit(tiny, images, units):
    nothing = ablated_embeddings(tiny, images, LAST, units, np.zeros(0, dtype=int))
    with torch.no_grad():
        clean = F.normalize(tiny.run_from(images, LAST), dim=-1)
    assert torch.equal(nothing, clean)
    assert torch.equal(embeddings_without(tiny, LAST, images), clean)


def test_at_the_last_layer_cls_alone_gives_the_same(tiny, images, units):
    assert reaches_output(tiny, LAST) == "cls" and reaches_output(tiny, 1) == "all"
    whole = ablated_embeddings(tiny, images, LAST, units, np.array([1, 5]))
    alone = ablated_embeddings(tiny, images[:, :1], LAST, units, np.array([1, 5]))
    torch.testing.assert_close(whole, alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize("layer", [1, LAST])
def test_a_chain_equals_its_sets_one_by_one(tiny, images, units, layer):
    sets = [[], [4], [4], [2, 4, 9], [0, 1, 2, 4, 9, 30]]
    chain = [np.array(members, dtype=int) for members in sets]
    found = over_chain(tiny, images, layer, units, chain, lambda e: e)
    for members, embedding in zip(chain, found, strict=True):
        alone = ablated_embeddings(tiny, images, layer, units, members)
        torch.testing.assert_close(embedding, alone, rtol=0, atol=1e-5)
    assert torch.equal(found[1], found[2])
    assert torch.equal(found[0], embeddings_without(tiny, layer, images))


def test_a_chain_that_does_not_grow_is_refused(tiny, images):
    chain = [np.array([1, 2]), np.array([1, 3])]
    with pytest.raises(ValueError, match="must each hold the one before"):
        over_chain(tiny, images, LAST, Neurons(D), chain, lambda e: e)


def test_the_sweep_counts_what_the_definition_says(tiny, units):
    generator = torch.Generator().manual_seed(2)
    clean, attacked = torch.randn(2, 20, 1, D, generator=generator)
    label, word = torch.arange(20) % 4, (torch.arange(20) + 1) % 4
    text = F.normalize(torch.randn(4, 8, generator=generator), dim=-1)
    gap = np.random.default_rng(0).normal(size=units.n_units)
    directions = units.sae.W_dec.numpy() if isinstance(units, Latents) else np.eye(D)
    chains = candidates(gap, directions, [0.5, 0.1], [0.5, NO_CLOSURE])
    pairs = PairedImages(clean, attacked, label, word)
    table = sweep_table(tiny, pairs, LAST, units, chains, text)
    assert len(table) == 1 + 2 * 2 and (table["n_images"] == 20).all()
    assert table.loc[0, "tau"] == np.inf and (table["n_units"] == 0).sum() == 1
    for row in table.itertuples():
        chain = next((c for c in chains if c[0].lam == row[2]), None)
        members = np.zeros(0, dtype=int)
        if row.tau < np.inf:
            members = next(c.units for c in chain if c.tau == row.tau)
        assert row.n_units == len(members)
        called = {
            name: (ablated_embeddings(tiny, x, LAST, units, members) @ text.T).argmax(-1)
            for name, x in (("clean", clean), ("attacked", attacked))
        }
        assert row.clean_accuracy == pytest.approx((called["clean"] == label).double().mean())
        assert row.attacked_accuracy == pytest.approx((called["attacked"] == label).double().mean())
        assert row.text_confusion == pytest.approx((called["attacked"] == word).double().mean())


def test_models_without_a_cls_read_every_token():
    patches = SimpleNamespace(
        architecture=SimpleNamespace(n_layers=3),
        visual=SimpleNamespace(attn_pool=None, pool_type="avg"),
    )
    assert reaches_output(patches, 2) == "all"
