"""Base-to-novel accuracy of adapted models: harmonic mean, gains, intervals over images and seeds.

PatchSAE §5.1; the protocol of Zhou et al. 2022 (CoCoOp). Every model answers the same images, so
gains over the frozen model are paired.
"""

from collections.abc import Mapping
from pathlib import Path
from zlib import crc32

import numpy as np
import pandas as pd
import torch

from clip_sae.adaptation.few_shot import ClassHalves
from clip_sae.adaptation.training import embed_in_batches
from clip_sae.analyses.adaptation.keys import FROZEN
from clip_sae.analyses.shared.adapted import load_adapted, usable_rows
from clip_sae.analyses.shared.models import class_names, load_model
from clip_sae.datasets.manifest import read_classes
from clip_sae.datasets.pixels import pixels_of
from clip_sae.metrics import percentile_interval, resample_counts
from clip_sae.planning.inputs import ClipFiles, ImageFiles

READ = 1024  # images whose pixels are in memory at once
# base and novel images are answered among the classes of their half, "all" among all classes
GROUPS = ("base", "novel", "harmonic_mean", "all")
CHUNK = 1 << 23  # resample counts in memory at once: 64 MiB


def evaluate_adaptation(
    job, *, clip: ClipFiles, images: ImageFiles, adapted: Mapping, split: str
) -> pd.DataFrame:
    """Return a row per seed and image: seed, image (manifest row), label, among_half, among_all.

    `adapted`: the models of one method, as for `load_adapted`.
    """
    model, names = load_model(job, clip), class_names(images.index)
    is_novel = ClassHalves(len(names)).novel_classes
    manifest = usable_rows(images.index, split)
    models = load_adapted(model, adapted)
    with torch.no_grad():
        text = {seed: one.class_embeddings(names) for seed, one in models.items()}
    tables = []
    for start in range(0, len(manifest), READ):
        rows = manifest.iloc[start : start + READ]
        pixels = pixels_of(images, rows)
        for seed, one in models.items():
            similarity = (embed_in_batches(one, pixels) @ text[seed].T).cpu().numpy()
            table = answers_of(similarity, rows["label_idx"].to_numpy(), is_novel)
            table.insert(0, "image", rows.index)
            table.insert(0, "seed", seed)
            tables.append(table)
    job.facts["n_images"] = len(manifest)
    return pd.concat(tables, ignore_index=True).sort_values(["seed", "image"], kind="stable")


def summarise_adaptation(
    job,
    *,
    answers: Mapping[str, Mapping[str, Path]],
    indices: Mapping[str, Path],
    resamples: int,
    seed: int,
) -> dict[str, pd.DataFrame]:
    """Return tables: "accuracies" per data set, method and group; "runs" per seed as well.

    Args:
        answers: {data set: {method: answers of all seeds}}; indices: {data set: its index}.
    """
    summaries, runs = [], []
    for dataset, methods in answers.items():
        is_novel = ClassHalves(len(read_classes(indices[dataset]))).novel_classes
        tables = {}
        for method, path in methods.items():
            by_seed = dict(tuple(pd.read_csv(path).groupby("seed")))
            tables[method] = [table.reset_index(drop=True) for table in by_seed.values()]
            runs += [
                {"dataset": dataset, "method": method, "seed": one, "n_images": len(table)}
                | run_accuracies(table, is_novel)
                for one, table in by_seed.items()
            ]
        summary = summarise(tables, is_novel, n_resamples=resamples, seed=seed)
        summary.insert(0, "dataset", dataset)
        summaries.append(summary)
    return {"accuracies": pd.concat(summaries), "runs": pd.DataFrame(runs)}


def answers_of(similarity: np.ndarray, labels: np.ndarray, is_novel: np.ndarray) -> pd.DataFrame:
    """Return a row per image: label, and the answers among_half and among_all as class indices.

    `among_half` is the likeliest class of the label's half (base or novel), `among_all` of all.

    Args:
        similarity: [image, class], greater is likelier.
        labels: [image] class indices.
        is_novel: [class] bool.
    """
    same_half = is_novel[labels][:, None] == is_novel[None]  # [image class]
    half = np.where(same_half, similarity, -np.inf)
    return pd.DataFrame(
        {"label": labels, "among_half": half.argmax(1), "among_all": similarity.argmax(1)}
    )


def run_accuracies(rows: pd.DataFrame, is_novel: np.ndarray) -> dict[str, float]:
    """Return {group: accuracy} of the answers of one run."""
    half, whole = (rows["label"] == rows[f"among_{x}"] for x in ("half", "all"))
    novel = is_novel[rows["label"].to_numpy()]
    base, new = float(half[~novel].mean()), float(half[novel].mean())
    means = (base, new, _harmonic(base, new), float(whole.mean()))
    return dict(zip(GROUPS, map(float, means), strict=True))


def summarise(
    runs: Mapping[str, list[pd.DataFrame]],
    is_novel: np.ndarray,
    *,
    n_resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Return a row per method and group: accuracy, gain over the frozen model, 95 % intervals.

    Accuracies are means over seeds; the harmonic mean is that of the mean base and mean novel
    accuracy. Intervals resample images (the same ones for all methods) and seeds (for each method
    its own); `sd` is the spread over seeds alone, NaN for one.

    Args:
        runs: {method: `answers_of` each seed}, all of the same images; FROZEN among them.
        is_novel: [class] bool.

    Raises ValueError if runs answer different images, or a half has no image.
    """
    labels = runs[FROZEN][0]["label"].to_numpy()
    for method, tables in runs.items():
        if any(not np.array_equal(table["label"], labels) for table in tables):
            raise ValueError(f"the runs of {method!r} answer other images than the frozen model.")
    novel = is_novel[labels]
    if novel.all() or not novel.any():
        raise ValueError("base-to-novel accuracy needs test images of base and of novel classes.")
    rng = np.random.default_rng(seed)
    # seeded by name, so that adding a method changes no interval of the others
    own_rng = {m: np.random.default_rng((seed, crc32(m.encode()))) for m in runs}
    right = {method: _right(tables, novel) for method, tables in runs.items()}
    exact = {method: _means(r, np.ones((1, len(labels))), novel)[0] for method, r in right.items()}
    draws = {method: np.empty((n_resamples, len(GROUPS))) for method in runs}
    chunk = max(1, CHUNK // len(labels))
    for start in range(0, n_resamples, chunk):
        n = min(chunk, n_resamples - start)
        counts = resample_counts(rng, len(labels), n).astype(float)
        for method, r in right.items():
            drawn = own_rng[method].integers(0, len(r), (n, len(r)))
            draws[method][start : start + n] = _means(r, counts, novel, drawn)
    rows = []
    for method, tables in runs.items():
        each = pd.DataFrame([run_accuracies(table, is_novel) for table in tables])
        for i, group in enumerate(GROUPS):
            gain = draws[method][:, i] - draws[FROZEN][:, i]
            low, high = percentile_interval(draws[method][:, i])
            gain_low, gain_high = percentile_interval(gain)
            rows.append(
                {"method": method, "group": group, "accuracy": exact[method][i]}
                | {"accuracy_low": low, "accuracy_high": high}
                | {"gain": exact[method][i] - exact[FROZEN][i]}
                | {"gain_low": gain_low, "gain_high": gain_high}
                | {"sd": each[group].std(ddof=1) if len(tables) > 1 else np.nan}
                | {"n_seeds": len(tables), "n_images": _group_size(group, novel)}
            )
    return pd.DataFrame(rows)


def _right(tables: list[pd.DataFrame], novel: np.ndarray) -> np.ndarray:
    """Return [seed, image, 3]: right among the base half, among the novel half, among all."""
    half, whole = (
        np.stack([(t["label"] == t[f"among_{x}"]).to_numpy() for t in tables])
        for x in ("half", "all")
    )
    return np.stack([half & ~novel, half & novel, whole], axis=-1).astype(float)


def _means(
    right: np.ndarray, counts: np.ndarray, novel: np.ndarray, drawn: np.ndarray | None = None
) -> np.ndarray:
    """Return accuracies [resample, group] of image `counts` [resample, image], seeds `drawn`."""
    sums = np.einsum("ri,sig->rsg", counts, right, optimize=True)  # [resample seed 3]
    if drawn is not None:
        sums = np.take_along_axis(sums, drawn[:, :, None], axis=1)
    totals = np.stack([counts @ ~novel, counts @ novel, counts.sum(1)], axis=-1)
    base, new, whole = (sums.mean(1) / totals).T
    return np.stack([base, new, _harmonic(base, new), whole], axis=-1)


def _harmonic(base: float | np.ndarray, novel: float | np.ndarray) -> np.ndarray:
    base, novel = np.asarray(base, float), np.asarray(novel, float)
    total = base + novel
    return np.where(total > 0, 2 * base * novel / np.where(total > 0, total, 1), 0.0)


def _group_size(group: str, novel: np.ndarray) -> int:
    sizes = {"base": int((~novel).sum()), "novel": int(novel.sum())}
    return sizes.get(group, len(novel))
