"""Shares of the adapted model's gain, and overlaps of the strongest latents, as Markdown.

PatchSAE §5.
"""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from clip_sae.analyses.changes.draw import ORDER
from clip_sae.plotting import theme
from clip_sae.plotting.tables import Column, Layout, percent, to_markdown

CROSSINGS = (
    "What adaptation changes: {model}, concepts read by SAE {sae} at layer {layer}; "
    "accuracy, and share of the adapted model's gain over the frozen one that is retained "
    "(– where that gain's interval is not above 0). {counted} The map is the "
    "later blocks and the text side; where one of them alone is new, the other is the "
    "frozen model's. Old concepts: the frozen model's latents put into the adapted "
    "residual, whose SAE error and prompts stay; new concepts: the reverse. Whole: the "
    "tokens themselves, error and all. Random: the same changes, of other alive "
    "latents, under which tokens move less far (two thirds as far in the demo); moved as "
    "far: scaled to each token's own move. Intervals: 95 % bootstrap over training seeds "
    "and images."
)
OVERLAPS = Layout(
    keys=(Column("dataset", "Set"), Column("method", "Method"), Column("classes", "Classes")),
    columns=(
        Column("overlap", "Overlap", 2),
        Column("overlap_halves", "Halves, before", 2),
        Column("overlap_chance", "Chance", 2),
        Column("activation_change", "Change of activation", 2),
        Column("map_change", "Change of map", 2),
    ),
    caption="Of each class's {strongest} strongest latents, the share that stays among them, on "
    "the same images; the same between two halves of its images before the adaptation, "
    "which compares other images, half as many, and is no ceiling; and by chance. Then how "
    "much their mean activations, and their map to the class, change: sum of absolute "
    "changes over sum of absolute values before. Means over classes and seeds [least, "
    "greatest seed].",
    source="The map of a latent is what the class's margin gains, at first order, when it "
    "grows by 1 at every token. Halves and chance: beyond the paper.",
)


def share_tables(
    job,
    *,
    shares: Path,
    classes: Path,
    model: str,
    sae: str,
    layer: int,
    strongest: int,
    kinds: Mapping[str, str],
) -> str:
    """Return both tables.

    Args:
        model, sae, layer, strongest: for the captions.
        kinds: {method: kind of adaptation}.
    """
    shares = pd.read_csv(shares)
    names = {m: s.name for m, s in theme.method_styles(shares["method"], kinds).items()}
    crossings = Layout(
        keys=(Column("dataset", "Set"), Column("classes", "Classes"), Column("title", "Read as")),
        columns=tuple(
            percent(f"{method}_{what}", f"{name}: {title}", digits)
            for method, name in names.items()
            for what, title, digits in (("accuracy", "accuracy (%)", 1), ("share", "share (%)", 0))
        ),
        caption=CROSSINGS.format(model=model, sae=sae, layer=layer, counted=_counted(shares)),
        source="PatchSAE: Lim et al. 2024, arXiv 2412.05276, §5.",
    )
    means = _class_means(pd.read_csv(classes))
    means["method"] = means["method"].map(names)
    overlaps = OVERLAPS.filled(strongest=strongest)
    return to_markdown(_wide(shares), None, crossings) + "\n" + to_markdown(means, None, overlaps)


def _class_means(classes: pd.DataFrame) -> pd.DataFrame:
    """Return a row per data set, method and half of the classes: means over classes and seeds.

    The columns _low and _high are the least and greatest of the seeds' means over classes.
    """
    keys = ["dataset", "method", "classes"]
    values = [column.name for column in OVERLAPS.columns]
    by_seed = classes.groupby([*keys, "seed"], sort=False)[values].mean()
    groups = by_seed.groupby(keys, sort=False)
    parts = [groups.mean(), groups.min().add_suffix("_low"), groups.max().add_suffix("_high")]
    return pd.concat(parts, axis=1).reset_index()


def _wide(shares: pd.DataFrame) -> pd.DataFrame:
    """Return a row per data set, half of the classes and crossing.

    Its columns are <method>_accuracy and <method>_share, with _low and _high.
    """
    keys = ["dataset", "classes", "cell", "title"]
    ends = ("", "_low", "_high")
    values = [f"{what}{end}" for what in ("accuracy", "share") for end in ends]
    parts = [
        rows.set_index(keys)[values].add_prefix(f"{method}_")
        for method, rows in shares.groupby("method", sort=False)
    ]
    wide = pd.concat(parts, axis=1).reset_index()
    order = {name: i for i, name in enumerate(shares["dataset"].unique())}
    wide["rank"] = wide["cell"].map({cell: i for i, cell in enumerate(ORDER)})
    wide["set_rank"] = wide["dataset"].map(order)
    return wide.sort_values(["set_rank", "classes", "rank"], kind="stable")


def _counted(shares: pd.DataFrame) -> str:
    """Return a sentence with the numbers of seeds and images."""
    seeds = "/".join(map(str, sorted(shares["n_seeds"].unique())))
    images = shares.groupby(["dataset", "classes"], sort=False)["n_images"].first()
    if len(images.unique()) == 1:
        return f"{seeds} seeds, {images.iloc[0]:,} images of either half of the classes."
    listed = ", ".join(f"{d} {c} {n:,}" for (d, c), n in images.items())
    return f"{seeds} seeds; images: {listed}."
