"""Concepts exchanged between a frozen and an adapted model: identities, slow twins, shares."""

import numpy as np
import pytest
import torch
from clip_towers import images_of, sae_for
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_sae.adaptation import AdaptedClip, Prompts, PromptSpec
from clip_sae.adaptation.text_side import first_words, text_width
from clip_sae.analyses.changes.class_latents import (
    ClassLatents,
    class_change_table,
    latent_table,
    margin_gradient,
    read_classes_of,
)
from clip_sae.analyses.changes.crossings import BY_NAME, CELLS, Task, answer_cells
from clip_sae.analyses.changes.exchange import (
    CONCEPTS,
    OWN,
    RANDOM,
    RANDOM_MOVE,
    RESIDUAL,
    exchange,
    random_permutations,
)
from clip_sae.analyses.changes.gain_shares import resampled_means, share_table
from clip_sae.analyses.shared.class_counts import ClassCounts

NAMES = ["sun", "key", "boat"]
N_IMAGES, LAYER = 30, 1
SPECS = {
    "none": PromptSpec("none"),
    "coop": PromptSpec("coop", n_context=4),
    "vpt": PromptSpec("vpt", n_visual=3, depth=2),
    "maple": PromptSpec("maple", n_context=2, n_visual=2, depth=3),
}


def adapted_of(tiny, kind):
    spec = SPECS[kind]
    words = first_words(tiny, spec.template, spec.n_context) if spec.n_context else None
    prompts = Prompts(spec, text_width(tiny), 32, seed=1, words=words)
    with torch.no_grad():
        for parameter in prompts.parameters():
            parameter += torch.randn(
                parameter.shape, generator=torch.Generator().manual_seed(2)
            ) * parameter.std().clamp(0.5)
    return AdaptedClip.of_prompts(tiny, prompts.requires_grad_(False))


@pytest.fixture(scope="module")
def pixels(tiny):
    return images_of(tiny, N_IMAGES)


@pytest.fixture(scope="module")
def frozen(tiny):
    return AdaptedClip.frozen(tiny)


@pytest.fixture(scope="module")
def sae(frozen, pixels):
    with torch.no_grad():
        return sae_for(frozen.run_to(pixels, [LAYER])[LAYER])


def task_of(pixels, batch_images=8, seed=0):
    label = np.random.default_rng(seed).integers(0, len(NAMES), N_IMAGES)

    def batches():
        for start in range(0, N_IMAGES, batch_images):
            which = slice(start, min(start + batch_images, N_IMAGES))
            yield which, pixels[which]

    return Task(batches, label, NAMES)


def permutations(sae, seeds=2):
    return random_permutations(np.ones(sae.d_sae, dtype=bool), seeds)


class Distinct:
    """A model whose class texts separate its images.

    Random text towers give every class nearly the same text, and so every image the same answer.
    """

    def __init__(self, model, pixels, seed):
        self.model = model
        with torch.no_grad():
            embeddings = model.embed_images(pixels)
        rows = np.random.default_rng(seed).permutation(len(pixels))[: len(NAMES)]
        texts = embeddings[rows.copy()] - embeddings.mean(0)
        self.text = texts / texts.norm(dim=1, keepdim=True)

    def __getattr__(self, name):
        return getattr(self.model, name)

    def class_embeddings(self, names):
        return self.text


def distinct_pair(tiny, frozen, pixels, kind="maple"):
    return Distinct(frozen, pixels, 0), Distinct(adapted_of(tiny, kind), pixels, 1)


# --- exchange -------------------------------------------------------------------------------------


def residuals(frozen, adapted, pixels):
    with torch.no_grad():
        return [model.run_to(pixels, [LAYER])[LAYER] for model in (frozen, adapted)]


def slow_latents(sae, t):
    mean, std = t.mean(), t.std(ddof=1)
    z = (t - mean) / (std + 1e-5) - sae.b_dec.double().numpy()
    return np.maximum(z @ sae.W_enc.double().numpy() + sae.b_enc.double().numpy(), 0), std


def test_exchange_equals_a_slow_twin(tiny, frozen, pixels, sae):
    x0, x1 = (x[:4] for x in residuals(frozen, adapted_of(tiny, "maple"), pixels))
    [permutation] = permutations(sae, 1)
    found = exchange(sae, x0, x1, [permutation])
    w_dec, n_tokens = sae.W_dec.double().numpy(), x0.shape[1]
    for image in range(4):
        for token in range(n_tokens):
            t0, t1 = (x[image, token].double().numpy() for x in (x0, x1))
            (f0, s0), (f1, s1) = slow_latents(sae, t0), slow_latents(sae, t1)
            concepts = sum((f1[j] - f0[j]) * w_dec[j] for j in range(48))
            other = sum((f1[j] - f0[j]) * w_dec[permutation[j]] for j in range(48))
            as_far = other * np.linalg.norm(concepts) / np.linalg.norm(other)
            expected = {
                "adapted": {
                    OWN: t1,
                    RESIDUAL: t0,
                    CONCEPTS: t1 - s1 * concepts,
                    f"{RANDOM}0": t1 - s1 * other,
                    f"{RANDOM_MOVE}0": t1 - s1 * as_far,
                },
                "frozen": {
                    OWN: t0,
                    RESIDUAL: t1,
                    CONCEPTS: t0 + s0 * concepts,
                    f"{RANDOM}0": t0 + s0 * other,
                    f"{RANDOM_MOVE}0": t0 + s0 * as_far,
                },
            }
            for side, sources in expected.items():
                assert sources.keys() == getattr(found, side).keys()
                for source, values in sources.items():
                    got = getattr(found, side)[source][image, token].numpy()
                    assert np.allclose(got, values, atol=1e-4), (side, source)
    for source in found.adapted:  # prompts stay the adapted model's
        assert torch.equal(found.adapted[source][:, n_tokens:], x1[:, n_tokens:])


def test_equal_concepts_change_nothing_bit_for_bit(frozen, pixels, sae):
    x0, _ = residuals(frozen, frozen, pixels)
    prompts = torch.randn(len(x0), 3, x0.shape[-1])
    x1 = torch.cat([x0, prompts], 1)
    found = exchange(sae, x0, x1, permutations(sae))
    for source in found.frozen:
        assert torch.equal(found.frozen[source], x0), source
        assert torch.equal(found.adapted[source], x1), source


def test_residuals_of_other_shapes_raise(frozen, pixels, sae):
    x0, _ = residuals(frozen, frozen, pixels)
    with pytest.raises(ValueError, match="tokens"):
        exchange(sae, x0, x0[:, :-1], [])


@given(st.integers(2, 40), st.integers(0, 2**31 - 1))
@settings(max_examples=30, deadline=None)
def test_random_permutations_keep_dead_latents_where_they_are(n, seed):
    alive = np.random.default_rng(seed).random(n) < 0.7
    for permutation in random_permutations(alive, 2, seed):
        assert sorted(permutation) == list(range(n))
        assert (permutation[~alive] == np.flatnonzero(~alive)).all()
        assert alive[permutation[alive]].all()


# --- crossings ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SPECS)
def test_own_cells_are_the_two_models(tiny, frozen, pixels, sae, kind):
    (frozen, adapted), task = distinct_pair(tiny, frozen, pixels, kind), task_of(pixels)
    right = answer_cells(frozen, adapted, sae, LAYER, task, permutations(sae))
    with torch.no_grad():
        for name, model in (("frozen", frozen), ("adapted", adapted)):
            scores = model.embed_images(pixels) @ model.class_embeddings(NAMES).T
            assert np.array_equal(right[name], scores.argmax(-1).numpy() == task.label), name


@pytest.mark.parametrize("kind", ["none", "coop"])
def test_where_concepts_are_equal_old_concepts_with_the_new_map_are_the_adapted_model(
    tiny, frozen, pixels, sae, kind
):
    frozen, adapted = distinct_pair(tiny, frozen, pixels, kind)
    right = answer_cells(frozen, adapted, sae, LAYER, task_of(pixels), permutations(sae))
    for cell in CELLS:  # only the text side can differ
        assert np.array_equal(right[cell.name], right[cell.text]), cell.name
    assert not np.array_equal(right["frozen"], right["adapted"])


def test_crossings_equal_their_definitions(tiny, frozen, pixels, sae):
    (frozen, adapted), task = distinct_pair(tiny, frozen, pixels), task_of(pixels)
    right = answer_cells(frozen, adapted, sae, LAYER, task, permutations(sae))
    x0, x1 = residuals(frozen, adapted, pixels)
    n = x0.shape[1]
    f0, f1 = sae.encode(x0).latents, sae.encode(x1[:, :n]).latents
    old = x1.clone()
    old[:, :n] += sae.token_scale(x1[:, :n]) * ((f0 - f1) @ sae.W_dec)
    new = x0 + sae.token_scale(x0) * ((f1 - f0) @ sae.W_dec)
    with torch.no_grad():
        text = {m: model.class_embeddings(NAMES) for m, model in
                (("frozen", frozen), ("adapted", adapted))}  # fmt: skip
        images = {
            "old_concepts_new_map": (adapted.run_from(old, LAYER), "adapted"),
            "old_concepts_new_blocks": (adapted.run_from(old, LAYER), "frozen"),
            "old_concepts_new_text": (frozen.embed_images(pixels), "adapted"),
            "new_concepts_old_map": (frozen.run_from(new, LAYER), "frozen"),
            "new_concepts_new_text": (frozen.run_from(new, LAYER), "adapted"),
            "new_concepts_new_blocks": (adapted.embed_images(pixels), "frozen"),
            "new_residual_old_map": (frozen.run_from(x1[:, :n], LAYER), "frozen"),
        }
        for name, (embeddings, side) in images.items():
            expected = (embeddings @ text[side].T).argmax(-1).numpy() == task.label
            assert np.array_equal(right[name], expected), name
            assert BY_NAME[name].text == side
    assert len({tuple(values) for values in right.values()}) > 3  # they do differ


def test_answers_do_not_depend_on_the_batch(tiny, frozen, pixels, sae):
    frozen, adapted = distinct_pair(tiny, frozen, pixels)
    one, two = (
        answer_cells(frozen, adapted, sae, LAYER, task_of(pixels, n), permutations(sae))
        for n in (30, 4)
    )
    for name in one:
        assert np.array_equal(one[name], two[name]), name


# --- shares ---------------------------------------------------------------------------------------


def planted_answers(n=400, seeds=3, gain=0.4, retained=0.5):
    """Return answers with known accuracies: frozen 0.5, and part of the gain on top."""
    rng = np.random.default_rng(0)
    level = {"frozen": 0.5, "adapted": 0.5 + gain, "old_concepts_new_map": 0.5 + retained * gain}
    draws = rng.random((seeds, n))
    return {name: (draws < share).astype(float) for name, share in level.items()}


def test_shares_are_the_gain_retained():
    rows = share_table(planted_answers(), n_resamples=500).set_index("cell")
    row = rows.loc["old_concepts_new_map"]
    whole = rows.loc["adapted", "accuracy"] - rows.loc["frozen", "accuracy"]
    assert row["share"] == pytest.approx((row["accuracy"] - rows.loc["frozen", "accuracy"]) / whole)
    assert row["share_low"] < 0.5 < row["share_high"] and row["share_high"] < 0.8
    assert rows.loc["adapted", ["share", "share_low", "share_high"]].tolist() == [1, 1, 1]
    assert rows.loc["frozen", ["share", "share_low", "share_high"]].tolist() == [0, 0, 0]
    assert (rows["n_seeds"] == 3).all() and (rows["n_images"] == 400).all()


def test_shares_are_nan_without_a_gain():
    answers = planted_answers(gain=0.0)
    answers["adapted"] = answers["adapted"].copy()
    answers["adapted"][:, :3] = 1 - answers["adapted"][:, :3]  # a change that is no gain
    rows = share_table(answers, n_resamples=500)
    gain = rows.set_index("cell").loc["adapted"]
    assert gain["gain_low"] <= 0 <= gain["gain_high"]
    assert rows[["share", "share_low", "share_high"]].isna().all().all()


def test_shares_are_nan_for_a_loss():
    rows = share_table(planted_answers(gain=-0.4), n_resamples=500)
    loss = rows.set_index("cell").loc["adapted"]
    assert loss["gain_high"] < 0
    assert rows[["share", "share_low", "share_high"]].isna().all().all()


def test_resampled_means_draw_seeds_and_images():
    values = np.random.default_rng(3).random((2, 3, 50))  # [cell seed image]
    draws = resampled_means(values, 3000, 0)
    assert draws.shape == (3001, 2) and np.allclose(draws[0], values.mean((1, 2)))
    rng, slow = np.random.default_rng(8), []
    for _ in range(3000):
        seeds, images = rng.integers(0, 3, 3), rng.integers(0, 50, 50)
        slow.append(values[:, seeds][:, :, images].mean((1, 2)))
    slow = np.array(slow)
    assert np.allclose(draws[1:].mean(0), slow.mean(0), atol=0.005)
    for found, twin in ((draws[1:, 0], slow[:, 0]), (np.ptp(draws[1:], 1), np.ptp(slow, 1))):
        assert found.std() == pytest.approx(twin.std(), rel=0.1)  # the second: cells are paired


def test_a_bootstrap_draw_without_gain_leaves_the_other_shares():
    answers = {name: np.zeros((1, 12)) for name in ("frozen", "adapted")}
    answers["adapted"][0, :4] = 1  # (8/12)^12 of the draws, 1 in 130, have none of the four
    rows = share_table(answers, n_resamples=2000).set_index("cell")
    assert rows.loc["adapted", ["share", "share_low", "share_high"]].tolist() == [1, 1, 1]


# --- latents of classes ---------------------------------------------------------------------------


def test_latents_of_classes_equal_a_slow_loop(tiny, frozen, pixels, sae):
    adapted, task = adapted_of(tiny, "vpt"), task_of(pixels)
    found = read_classes_of(adapted, sae, LAYER, task, threshold=0.3)
    _, x1 = residuals(frozen, adapted, pixels)
    f = sae.encode(x1[:, : tiny.architecture.n_tokens]).latents.double().numpy()
    for c in range(len(NAMES)):
        own = f[task.label == c]
        assert np.array_equal(found.counts.counts[c], (own > 0.3).sum((0, 1)))
        assert np.allclose(found.activation[c], own.mean((0, 1)))
        assert [half.n_images[c] for half in found.halves] == [-(-len(own) // 2), len(own) // 2]
    assert np.array_equal(found.counts.active, (f > 0).sum((0, 1)))


def test_the_map_is_the_finite_difference_of_the_margin(tiny, frozen, pixels, sae):
    adapted, task = adapted_of(tiny, "maple"), task_of(pixels)
    found = read_classes_of(adapted, sae, LAYER, task)
    _, x1 = residuals(frozen, adapted, pixels)
    n, step = tiny.architecture.n_tokens, 1e-2

    def margin(latent, amount):
        x = x1.clone()
        x[:, :n] += amount * sae.token_scale(x1[:, :n]) * sae.W_dec[latent]
        with torch.no_grad():
            logits = adapted.logit_scale * (
                adapted.run_from(x, LAYER) @ adapted.class_embeddings(NAMES).T
            )
        own = logits[torch.arange(N_IMAGES), torch.from_numpy(task.label)]
        return (own - (logits.sum(1) - own) / 2).numpy()

    for latent in (0, 7, 31):
        slope = (margin(latent, step) - margin(latent, -step)) / (2 * step)
        for c in range(len(NAMES)):
            assert found.map[c, latent] == pytest.approx(
                slope[task.label == c].mean(), rel=0.05, abs=2e-3
            )


def test_a_gradient_does_not_depend_on_the_other_images(frozen, pixels):
    x0, _ = residuals(frozen, frozen, pixels)
    text, label = frozen.class_embeddings(NAMES), torch.tensor([0, 1, 2] * 10)
    whole = margin_gradient(frozen, x0, LAYER, text, label)
    part = margin_gradient(frozen, x0[3:5], LAYER, text, label[3:5])
    assert torch.allclose(whole[3:5], part, atol=1e-6)


def test_strongest_latents_persist_appear_and_vanish(tiny, frozen, pixels, sae):
    task, adapted = task_of(pixels), adapted_of(tiny, "maple")
    before, after = (read_classes_of(m, sae, LAYER, task) for m in (frozen, adapted))
    k = 10
    rows, classes = (make(before, after, NAMES, k) for make in (latent_table, class_change_table))
    for c, name in enumerate(NAMES):
        tops = [
            {j for j in side.counts.ranked()[c, :k] if side.counts.counts[c, j] > 0}
            for side in (before, after)
        ]
        own = rows[rows["class"] == name]
        status = {s: set(own.loc[own["status"] == s, "latent"]) for s in own["status"].unique()}
        assert status.get("persists", set()) == tops[0] & tops[1]
        assert status.get("vanishes", set()) == tops[0] - tops[1]
        assert status.get("appears", set()) == tops[1] - tops[0]
        row = classes[classes["class"] == name].iloc[0]
        assert row["persist"] == len(tops[0] & tops[1]) and row["overlap"] == row["persist"] / k
        strong = list(tops[0] | tops[1])
        moved = sum(abs(after.map[c, j] - before.map[c, j]) for j in strong)
        assert row["map_change"] == pytest.approx(moved / np.abs(before.map[c, strong]).sum())
    assert {"appears", "vanishes"} <= set(rows["status"])
    assert (rows.loc[rows["status"] == "vanishes", "rank_after"] > k).all()


def test_a_model_compared_with_itself_keeps_all_its_latents(frozen, pixels, sae):
    found = read_classes_of(frozen, sae, LAYER, task_of(pixels))
    classes = class_change_table(found, found, NAMES, 10)
    assert (classes["overlap"] == 1).all() and (classes["appear"] == 0).all()
    assert np.allclose(classes["count_correlation"], 1)
    assert np.allclose(classes[["activation_change", "map_change"]], 0)
    assert (latent_table(found, found, NAMES, 10)["status"] == "persists").all()


def latents_of(*counts):
    """Return latents with a class per row of counts, equal in both halves."""
    counts = np.array(counts)
    half = ClassCounts(counts, np.full(len(counts), 4), np.maximum(counts.sum(0), [1, 0, 0, 0, 0]))
    return ClassLatents((half, half), counts.astype(float), counts.astype(float))


def test_latents_that_never_count_are_not_strong():
    before = latents_of([0, 0, 5, 0, 3], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0])
    after = latents_of([0, 0, 5, 1, 0], [0, 0, 0, 2, 0], [0, 0, 0, 0, 0])
    after.activation[0, 3] = 1.0
    names, k = ["half", "new", "silent"], 4
    classes = class_change_table(before, after, names, k).set_index("class")
    assert classes[["persist", "appear", "vanish"]].values.tolist() == [
        [1, 1, 1],
        [0, 1, 0],
        [0] * 3,
    ]
    assert classes.loc["half", "overlap"] == 0.5  # 3 / 4 if latents 0 and 1 padded it to k
    assert classes.loc["half", "overlap_chance"] == 2 / 4  # alive: 0, 2, 3 and 4
    assert classes.loc["half", "overlap_halves"] == 1
    assert classes.loc["new", "overlap"] == 0 and classes.loc["new", "overlap_chance"] == 0
    assert classes.loc["silent", ["overlap", "overlap_halves", "overlap_chance"]].isna().all()
    rows = latent_table(before, after, names, k)
    assert list(zip(rows["class"], rows["latent"], rows["status"], strict=True)) == [
        ("half", 2, "persists"),
        ("half", 3, "appears"),
        ("half", 4, "vanishes"),
        ("new", 3, "appears"),
    ]
