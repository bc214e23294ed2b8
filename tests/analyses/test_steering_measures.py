"""Eqs 4, 5, 10 and 11: written out in NumPy, their identities as properties, planted answers."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_sae.analyses.steering.unit_measures import Words, measure, steerability_floor


def distributions(seed, *shape, sharpness=3.0):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.dirichlet(np.full(shape[-1], 1 / sharpness), shape[:-1]))


def unit_text(seed, n_words, d_embed=7):
    text = np.random.default_rng(seed).normal(size=(n_words, d_embed)) + 1.0  # a narrow cone
    return torch.from_numpy(text / np.linalg.norm(text, axis=1, keepdims=True))


def slow(steered, clean, text):
    """Return the measures of the printed equations, one word and one image at a time."""
    n_images, n_words = clean.shape
    d = np.array([[steered[i, v] - clean[i, v] for v in range(n_words)] for i in range(n_images)])
    mean = d.mean(0)
    p = steered.mean(0)
    mu = text.mean(0)
    centroid = sum(p[v] * text[v] for v in range(n_words))
    word_sum = sum(mean[v] * text[v] for v in range(n_words))
    return {
        "delta_p": max(mean),
        "total_variation": sum(abs(m) for m in mean) / 2,
        "steerability": sum(m**2 for m in mean),
        "steerability_printed": sum((d[:, v] ** 2).mean() for v in range(n_words)),
        "n_effective": 1 / sum(q**2 for q in p),
        "d_f": sum(p[v] * np.linalg.norm(text[v] - mu) for v in range(n_words)),
        "d_f_authors": np.linalg.norm(word_sum - mu / np.linalg.norm(mu)),
        "dispersion_own": sum(
            p[v] * np.linalg.norm(text[v] - centroid) ** 2 for v in range(n_words)
        ),
    }


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(2, 30), st.floats(0.3, 30))
def test_measures_equal_the_equations_written_out(seed, n_images, n_words, sharpness):
    steered = distributions(seed, 2, n_images, n_words, sharpness=sharpness)
    clean = distributions(seed + 1, n_images, n_words)
    text = unit_text(seed, n_words)
    found = measure(steered, clean, Words.of(text))
    for unit in range(2):
        expected = slow(steered[unit].numpy(), clean.numpy(), text.numpy())
        for name, value in expected.items():
            assert float(getattr(found, name)[unit]) == pytest.approx(value, abs=1e-9), name
        assert float(found.top_changes[unit, 0]) == pytest.approx(expected["delta_p"])
    assert found.top_words.shape == (2, min(10, n_words))
    assert (found.top_changes.diff(dim=1) <= 0).all()
    d = (steered - clean).numpy()
    np.testing.assert_allclose(found.gram, np.einsum("uiv,ukv->uik", d, d), atol=1e-12)
    assert torch.equal(found.top_word_image0, steered[:, 0].argmax(-1))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 8), st.integers(2, 40), st.floats(0.2, 100))
def test_steerability_lies_between_0_and_2_and_never_above_its_printed_form(
    seed, n_images, n_words, sharpness
):
    steered = distributions(seed, 3, n_images, n_words, sharpness=sharpness)
    clean = distributions(seed + 1, n_images, n_words, sharpness=sharpness)
    found = measure(steered, clean, Words.of(unit_text(seed, n_words)))
    assert (found.steerability >= 0).all() and (found.steerability_printed <= 2 + 1e-12).all()
    assert (found.steerability <= found.steerability_printed + 1e-12).all()
    assert (found.total_variation <= 1 + 1e-12).all()
    assert (found.n_effective >= 1 - 1e-9).all() and (found.n_effective <= n_words + 1e-9).all()
    if n_images == 1:
        torch.testing.assert_close(found.steerability, found.steerability_printed)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(2, 40), st.data())
def test_mass_uniform_on_n_words_gives_one_over_n_up_to_the_clean_mass(
    seed, n_images, n_words, data
):
    """S = 1/n − (2/n) Σ_{v∈top} P̄_v + ‖P̄‖², and n_effective is n exactly."""
    n = data.draw(st.integers(1, n_words))
    chosen = np.random.default_rng(seed).permutation(n_words)[:n]
    uniform = torch.zeros(n_words, dtype=torch.float64)
    uniform[chosen] = 1 / n
    clean = distributions(seed, n_images, n_words)
    found = measure(uniform.expand(1, n_images, n_words), clean, Words.of(unit_text(seed, n_words)))
    floor = steerability_floor(clean)
    on_top = float(clean.mean(0)[chosen].sum())
    assert float(found.steerability) == pytest.approx(1 / n - 2 / n * on_top + floor, abs=1e-12)
    assert float(found.n_effective) == pytest.approx(n)


def test_a_unit_that_only_spreads_the_answer_scores_the_floor():
    clean = distributions(0, 9, 5_000, sharpness=500.0)
    spread = torch.full((1, 9, 5_000), 1 / 5_000, dtype=torch.float64)
    found = measure(spread, clean, Words.of(unit_text(0, 5_000)))
    assert float(found.steerability) == pytest.approx(steerability_floor(clean), abs=1e-3)
    assert float(found.steerability) > 25 / 5_000


def test_the_two_dispersions_order_units_as_their_words_lie():
    """One word has no dispersion around its centroid; two far words have more than two near."""
    text = torch.tensor([[1.0, 0, 0], [0.99, 0.141, 0], [0, 1.0, 0], [0, 0, 1.0]]).double()
    text = text / text.norm(dim=1, keepdim=True)
    one, near, far = (
        torch.tensor(p).double().expand(1, 2, 4)
        for p in ([1.0, 0, 0, 0], [0.5, 0.5, 0, 0], [0.5, 0, 0.5, 0])
    )
    clean = torch.full((2, 4), 0.25).double()
    own = [float(measure(p, clean, Words.of(text)).dispersion_own) for p in (one, near, far)]
    assert own[0] == pytest.approx(0, abs=1e-12)
    assert own[0] < own[1] < 0.01 < 0.49 < own[2]
