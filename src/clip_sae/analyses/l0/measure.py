"""L0, the number of latents that a token uses: per position, per layer, next to GPT-2's.

Steering paper §5.1–5.2, Fig. 4 a, b, c and Fig. 8 (App. 9).
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from clip_sae.analyses.shared.activity import LatentActivity, measure_activity
from clip_sae.analyses.shared.sae_stores import each_sae
from clip_sae.datasets.manifest import read_manifest
from clip_sae.metrics import bootstrap_means, percentile_interval, rank_correlation, ranks
from clip_sae.planning.inputs import SaeFiles


def measure_l0(
    job,
    *,
    saes: Sequence[SaeFiles],
    stores: Mapping[str, Path],
    index: Path,
    gpt2: Path,
    split: str,
    single_image: int,
    resamples: int,
    seed: int,
) -> dict[str, pd.DataFrame]:
    """Return {"tokens", "layers", "image"}: L0 of positions, of layers, and of one image.

    Args:
        saes: one per layer; stores: as for `each_sae`.
        single_image: position among the usable images of the split.
    """
    manifest = read_manifest(index, split)
    rows = manifest.index[manifest["status"] == "ok"]
    tokens, layers, image = [], [], []
    for files, sae, store in each_sae(job, saes, stores):
        activity, layer = measure_activity(store, sae), files.layer
        tokens.append(l0_by_token(activity, layer=layer))
        layers.append(l0_by_layer(activity, layer=layer, n_resamples=resamples, seed=seed))
        row = int(np.flatnonzero(activity.source_index == rows[single_image])[0])
        image.append(image_l0(activity, row, layer=layer))
    return {
        "tokens": pd.concat(tokens, ignore_index=True),
        "layers": beside_gpt2(pd.concat(layers, ignore_index=True), pd.read_csv(gpt2, comment="#")),
        "image": pd.concat(image, ignore_index=True),
    }


def l0_by_token(activity: LatentActivity, *, layer: int) -> pd.DataFrame:
    """Return a row per token position: moments over images, parts of a box plot (Figs 4 a, b, 8).

    Columns: layer, token, token_type ("cls" or "patch"), patch, row, column (−1 for CLS), n_images,
    mean_l0, sd_l0, min_l0, whisker_low, q25, median, q75, whisker_high, max_l0, n_outliers,
    mean_norm, sd_norm. Whiskers are the last images within 1.5 interquartile ranges (Tukey).
    """
    l0, norm = activity.l0.astype(np.float64), activity.norm.astype(np.float64)
    table = token_positions(activity.n_patches)
    table.insert(0, "layer", layer)
    q25, median, q75 = np.quantile(l0, [0.25, 0.5, 0.75], axis=0)
    inside = (l0 >= q25 - 1.5 * (q75 - q25)) & (l0 <= q75 + 1.5 * (q75 - q25))
    return table.assign(
        n_images=activity.n_images,
        mean_l0=l0.mean(0),
        sd_l0=_sd(l0),
        min_l0=l0.min(0),
        whisker_low=np.where(inside, l0, np.inf).min(0),
        q25=q25,
        median=median,
        q75=q75,
        whisker_high=np.where(inside, l0, -np.inf).max(0),
        max_l0=l0.max(0),
        n_outliers=(~inside).sum(0),
        mean_norm=norm.mean(0),
        sd_norm=_sd(norm),
    )


def l0_by_layer(
    activity: LatentActivity, *, layer: int, n_resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Return a layer's row: mean L0 of patches and CLS, centre bias, tie of L0 to the token norm.

    Columns: layer, n_images; patch_l0, cls_l0, centre_bias and norm_correlation_within_image, each
    with _low and _high (95 % bootstrap over images); patch_l0_sd (over images and patches);
    norm_correlation (Spearman, all patches of all images pooled), norm_correlation_map (between the
    two mean maps); patch_norm, cls_norm. centre_bias = (inner − outer ring) / mean of the patches.
    Correlations of a constant L0 (TopK) are NaN.
    """
    patch = activity.l0[:, 1:].astype(np.float64)
    norm = activity.norm[:, 1:].astype(np.float64)
    inner, ring = centre_masks(grid_side(activity.n_patches))
    values = np.stack(
        [
            patch.mean(1),
            activity.l0[:, 0],
            patch[:, inner.ravel()].mean(1),
            patch[:, ring.ravel()].mean(1),
            _correlation_within(patch, norm),
        ],
        axis=1,
    )  # [image column]
    row = {"layer": layer, "n_images": activity.n_images}
    _add_intervals(row, values, bootstrap_means(values, n_resamples, seed))
    return pd.DataFrame([row]).assign(
        patch_l0_sd=patch.std(ddof=1),
        norm_correlation=rank_correlation(patch, norm),
        norm_correlation_map=rank_correlation(patch.mean(0), norm.mean(0)),
        patch_norm=norm.mean(),
        cls_norm=activity.norm[:, 0].mean(dtype=np.float64),
    )


def _add_intervals(row: dict, values: np.ndarray, draws: np.ndarray) -> None:
    """Fill `row` with estimate, _low and _high of the four metrics that carry an interval."""

    def metrics(means):  # [..., column] -> four arrays [...]
        patch, cls, inner, ring, within = np.moveaxis(means, -1, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return patch, cls, (inner - ring) / patch, within

    names = ("patch_l0", "cls_l0", "centre_bias", "norm_correlation_within_image")
    pairs = zip(metrics(values.mean(0)), metrics(draws), strict=True)
    for name, (estimate, draw) in zip(names, pairs, strict=True):
        row[name] = float(estimate)
        row[f"{name}_low"], row[f"{name}_high"] = percentile_interval(draw)


def beside_gpt2(by_layer: pd.DataFrame, gpt2: pd.DataFrame) -> pd.DataFrame:
    """Add gpt2_l0, patch_over_gpt2, cls_over_gpt2 and cls_crosses_gpt2 to `l0_by_layer` rows.

    `gpt2`: columns layer, hook, l0. ASSUME: layer l is compared with the same point of GPT-2, which
    is resid_pre of block l + 1 (resid_post of block 11 after the last); the paper only plots both
    by layer. `cls_crosses_gpt2` marks the first layer whose CLS L0 exceeds GPT-2's.
    """
    pre = gpt2[gpt2.hook == "resid_pre"]
    post = gpt2[gpt2.hook == "resid_post"]
    matched = dict(zip(pre.layer - 1, pre.l0, strict=True))
    matched |= dict(zip(post.layer, post.l0, strict=True))
    table = by_layer.sort_values("layer", ignore_index=True)
    table["gpt2_l0"] = table.layer.map(matched).astype(float)
    table["patch_over_gpt2"] = table.patch_l0 / table.gpt2_l0
    table["cls_over_gpt2"] = table.cls_l0 / table.gpt2_l0
    above = table.cls_l0 > table.gpt2_l0
    table["cls_crosses_gpt2"] = above & (above.cumsum() == 1)
    return table


def image_l0(activity: LatentActivity, image: int, *, layer: int) -> pd.DataFrame:
    """Return L0 and norm of each token of one image (row `image` of the store).

    Columns: layer, image, source_index, token, token_type, patch, row, column, l0, norm.
    """
    if not 0 <= image < activity.n_images:
        raise ValueError(
            f"image {image} was not measured; rows 0 to {activity.n_images - 1} were. "
            "Choose one of them or measure more images"
        )
    table = token_positions(activity.n_patches)
    table.insert(0, "layer", layer)
    table.insert(1, "image", image)
    table.insert(2, "source_index", int(activity.source_index[image]))
    return table.assign(l0=activity.l0[image], norm=activity.norm[image])


def token_positions(n_patches: int) -> pd.DataFrame:
    """Return token, token_type, patch, row, column; patches row-major, −1 where CLS has none."""
    side, patch = grid_side(n_patches), np.arange(-1, n_patches)
    return pd.DataFrame(
        {
            "token": patch + 1,
            "token_type": ["cls"] + ["patch"] * n_patches,
            "patch": patch,
            "row": np.where(patch < 0, -1, patch // side),
            "column": np.where(patch < 0, -1, patch % side),
        }
    )


def grid_side(n_patches: int) -> int:
    """Return the rows, and columns, of the square patch grid; ValueError for another number."""
    side = math.isqrt(n_patches)
    if side * side != n_patches:
        raise ValueError(f"{n_patches} patches do not fill a square grid, as those of a tower do.")
    return side


def centre_masks(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return masks [row, column] of the inner square and the outer ring; 3 × 3 on a 7 × 7 grid.

    ASSUME: on other grids the inner square keeps the share 3/7 of the side, and the side's parity
    so that it stays in the middle.
    """
    start = (side - max(2 - side % 2, side - 2 * round(side * 2 / 7))) // 2
    inner = np.zeros((side, side), dtype=bool)
    inner[start : side - start, start : side - start] = True
    ring = np.ones((side, side), dtype=bool)
    ring[1:-1, 1:-1] = False
    return inner, ring


def _correlation_within(l0: np.ndarray, norm: np.ndarray) -> np.ndarray:
    """Return Spearman's correlation over the patches of each image `[image]`.

    An image of constant L0 counts as 0 (no tie to the norm); NaN where every image is constant.
    """
    if np.ptp(l0, axis=1).max() == 0:
        return np.full(len(l0), np.nan)
    a, b = (np.apply_along_axis(ranks, 1, values) for values in (l0, norm))
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    scale = np.sqrt(np.square(a).sum(1) * np.square(b).sum(1))
    return (a * b).sum(1) / np.where(scale > 0, scale, 1)


def _sd(values: np.ndarray) -> np.ndarray:
    """Return the standard deviation over images `[token]`, n − 1; NaN for a single image."""
    if len(values) < 2:
        return np.full(values.shape[1], np.nan)
    return values.std(0, ddof=1)
