"""Scores of masks: chosen units on held-out images against the known masks of objects.

PatchSAE §3.3, with numbers. Labels and activations of other images choose the units, never masks:
per class the unit whose image-level value separates the class best from the others. Controls:
latents that happen to be active on the image, the residual's own coordinates chosen by the same
rule, the chosen latent's map against the object of another image, the whole image, and the best
mask of whole patches.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from clip_sae.analyses.concepts.masks import (
    above_share,
    best_patches,
    intersection_over_union,
    points_at,
    ranks_above,
)
from clip_sae.analyses.concepts.unit_maps import PatchMaps
from clip_sae.metrics import bootstrap_means, percentile_interval

# The order of the table; gains are differences from `random_latent`.
CHOICES = (
    "class_latent",
    "strongest_latent",
    "strongest_of_all",
    "random_latent",
    "class_neuron",
    "random_neuron",
    "class_latent_other_object",
    "whole_image",
    "best_patches",
)
CONTROL = "random_latent"
MEASURES = ("iou", "pointing", "auroc")
# A patch is in the mask above a share of the way to the image's highest value. Latents are zero off
# their concept and coordinates are not, so no single share is fair to both.
SHARES = tuple(round(0.1 * i, 1) for i in range(10))


def other_image(label: np.ndarray, seed: int) -> np.ndarray:
    """Return [image]: for each image another one, drawn at random so that each comes once."""
    order = np.random.default_rng(seed).permutation(len(label))
    partner = np.empty(len(label), dtype=np.int64)
    partner[order] = np.roll(order, 1)
    return partner


def image_scores(found: Mapping[str, PatchMaps], coverage: np.ndarray, seed: int) -> pd.DataFrame:
    """Return a row per image and choice: choice, image (position), unit, active, share, MEASURES.

    Each choice's masks use the share of SHARES whose mean IoU is highest on the other half of the
    images, so no image is scored with a share that it helped to choose.

    Args:
        found: of the choices `class_latent`, `strongest_latent`, `strongest_of_all` (which counts
            latents that are active nearly everywhere), `random_latent`, `class_neuron` and
            `random_neuron`; the others of CHOICES follow from these.
        coverage: [image, patch] of the object.
        seed: of the halves and of the draw of other images.
    """
    n_images, n_patches = coverage.shape
    partner = other_image(np.arange(n_images), seed)
    half = np.random.default_rng(seed).permutation(n_images) % 2
    tables = []
    for choice in CHOICES:
        truth, unit, share = coverage, np.full(n_images, -1), np.full(n_images, np.nan)
        if choice == "whole_image":
            maps, low = np.ones((n_images, n_patches)), np.zeros(n_images)
            iou = intersection_over_union(maps > 0, truth)
        elif choice == "best_patches":
            maps, low = coverage, np.zeros(n_images)
            iou = intersection_over_union(np.stack([best_patches(c) for c in truth]), truth)
        else:
            one = found[choice.removesuffix("_other_object")]
            truth = coverage[partner] if choice.endswith("_other_object") else coverage
            maps, low, unit = one.maps, one.low, one.unit
            iou, share = _fitted_iou(maps, low, truth, half)
        tables.append(
            pd.DataFrame(
                {
                    "choice": choice,
                    "image": np.arange(n_images),
                    "unit": unit,
                    "active": maps.max(1) > low,
                    "share": share,
                    "iou": iou,
                    "pointing": points_at(maps, low, truth),
                    "auroc": ranks_above(maps, truth),
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def _fitted_iou(
    maps: np.ndarray, low: np.ndarray, coverage: np.ndarray, half: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return (IoU, share) [image], the share of each half chosen on the other half."""
    by_share = np.stack(
        [intersection_over_union(above_share(maps, low, share), coverage) for share in SHARES]
    )  # [share image]
    best = np.zeros(len(maps), dtype=np.int64)
    for side in (0, 1):
        others = half != side
        if others.any():
            best[half == side] = int(by_share[:, others].mean(1).argmax())
    return by_share[best, np.arange(len(maps))], np.asarray(SHARES)[best]


def localisation_table(
    scores: pd.DataFrame, label: np.ndarray, names: list[str], *, n_resamples: int, seed: int
) -> pd.DataFrame:
    """Return means over images: a row per choice, then one per class of `class_latent`.

    Columns: choice, label ("all" or the class), unit (of a class; −1 else), n_images, active (share
    of images on which the unit is active on a patch), share (mean of those chosen), MEASURES, and
    <measure>_gain over `random_latent` on the same images; these with _low and _high (95 %
    bootstrap over images, paired). Where a unit is not active, IoU and pointing count 0 and AUROC
    0.5.

    Args:
        scores: from `image_scores`; label: [image] class index; names: of the classes.
    """
    measures = [*MEASURES]
    by_image = {
        choice: rows.sort_values("image")[["unit", "active", "share", *measures]].reset_index(
            drop=True
        )
        for choice, rows in scores.groupby("choice", sort=False)
    }
    control = by_image[CONTROL][measures].to_numpy()
    classes = [(c, names[c]) for c in sorted(set(label.tolist()))]
    parts = [(choice, "all", np.ones(len(label), dtype=bool)) for choice in by_image]
    parts += [("class_latent", name, label == c) for c, name in classes]
    rows = []
    for choice, name, which in parts:
        one = by_image[choice][which]
        values = one[measures].to_numpy(float)
        columns = np.concatenate([values, values - control[which]], 1)  # [image, measure]
        draws = bootstrap_means(columns, n_resamples, seed)
        row = {
            "choice": choice,
            "label": name,
            "unit": -1 if name == "all" else int(one["unit"].iloc[0]),
            "n_images": len(one),
            "active": float(one["active"].mean()),
            "share": float(one["share"].mean()),
        }
        for i, measure in enumerate([*measures, *(f"{name}_gain" for name in measures)]):
            row[measure] = float(columns[:, i].mean())
            row[f"{measure}_low"], row[f"{measure}_high"] = percentile_interval(draws[:, i])
        rows.append(row)
    return pd.DataFrame(rows)
