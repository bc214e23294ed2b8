"""Mean accuracy over classes for every number of latents, as Markdown (PatchSAE §4.1)."""

from pathlib import Path

import pandas as pd

from clip_sae.analyses.class_concepts.draw import MEAN, PANELS
from clip_sae.plotting.tables import Column, Layout, percent, to_markdown

LAYOUT = Layout(
    keys=(Column("edit", "Latents"), Column("error", "SAE's error"), Column("k", "k", 0)),
    columns=(
        percent("accuracy", "The class's own", 1),
        percent("other_class", "Another class's", 1),
        percent("random", "Random alive", 1),
        percent("over_random", "Own − random", 1),
    ),
    caption="Concepts and classes: zero-shot accuracy of {model} in percent, mean over "
    "{n_classes} classes, {n_images:,} images, with only or without the "
    "k latents of the image's class that are above {threshold:g} most often (SAE {sae} at "
    "layer {layer}, all tokens; counted on the training split) [95 % bootstrap interval, "
    "images resampled within classes]. Random: mean of {random_seeds} draws of as many "
    "alive latents per class.",
    source="The latents kept are those of the true class: what keeping them gains is not "
    "accuracy that a user could have. PatchSAE: Lim et al. 2024, arXiv 2412.05276, §4.1.",
)


def class_concepts(
    job, *, csv: Path, model: str, sae: str, layer: int, threshold: float, random_seeds: int
) -> str:
    """Return the means over classes; the values are for the caption."""
    table = pd.read_csv(csv)
    mean = table[table["class"] == MEAN]
    rows = mean[mean.latents == "top"].copy()
    for kind in ("other_class", "random"):
        other = mean[mean.latents == kind].set_index(["edit", "error", "k"])
        at = pd.MultiIndex.from_frame(rows[["edit", "error", "k"]])
        for end in ("", "_low", "_high"):
            rows[kind + end] = other[f"accuracy{end}"].reindex(at).to_numpy()
    order = {edit: i for i, edit in enumerate(PANELS)}
    rows["order"] = [order[pair] for pair in zip(rows.edit, rows.error, strict=True)]
    rows = rows.sort_values(["order", "k"])
    rows["edit"] = rows.edit.map({"keep_only": "only k kept", "remove": "k taken out"})
    rows["error"] = rows.error.map({"keep": "stays", "drop": "dropped"})
    layout = LAYOUT.filled(
        model=model,
        n_classes=table["class"].nunique() - 1,
        n_images=int(rows.n_images.iloc[0]),
        threshold=threshold,
        sae=sae,
        layer=layer,
        random_seeds=random_seeds,
    )
    return to_markdown(rows, None, layout)
