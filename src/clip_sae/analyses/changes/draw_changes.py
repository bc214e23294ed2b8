"""What adaptation changes: accuracies of the crossings of concepts and map, latents, overlaps.

PatchSAE §5. Tables: from `clip_sae.analyses.changes`.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clip_sae.plotting import theme
from clip_sae.plotting.methods import KINDS, method_names
from clip_sae.plotting.tables import Column, Layout, to_markdown

# From top to bottom of a panel.
ORDER = (
    "frozen",
    "old_concepts_new_text",
    "old_concepts_new_blocks",
    "old_concepts_new_map",
    "old_residual_new_map",
    "random_change_new_map",
    "random_move_new_map",
    "new_concepts_old_map",
    "new_residual_old_map",
    "random_change_old_map",
    "random_move_old_map",
    "new_concepts_new_text",
    "new_concepts_new_blocks",
    "adapted",
)
# status → name, colour
STATUS = {
    "persists": ("persists", theme.GREY),
    "appears": ("appears", theme.REFERENCE),
    "vanishes": ("vanishes", theme.CLS),
}
OVERLAPS = {
    "overlap": "before and after",
    "overlap_halves": "two halves of the images, before (no ceiling)",
    "overlap_chance": "chance",
}
_CROSSING = ["dataset", "method", "classes", "cell", "title", "accuracy"]


def plot_crossings(shares: pd.DataFrame, ax: Axes, *, kinds: Mapping[str, str]) -> Axes:
    """Draw the accuracy of every crossing with its interval; a colour and a line per method.

    `shares`: rows of one data set and one half of its classes.
    """
    theme.require_columns(shares, [*_CROSSING, "accuracy_low", "accuracy_high"], "crossings")
    names = method_names(list(shares["method"].unique()), kinds)
    n = len(names)
    for i, (method, name) in enumerate(names.items()):
        rows = shares[shares["method"] == method].set_index("cell").reindex(ORDER)
        at = np.arange(len(ORDER)) + (i - (n - 1) / 2) * 0.6 / max(n, 1)
        bars = (rows.accuracy - rows.accuracy_low, rows.accuracy_high - rows.accuracy)
        colour = KINDS[kinds[method]][1]
        ax.errorbar(
            rows.accuracy, at, xerr=bars, fmt="o", color=colour, markersize=2.8,
            elinewidth=0.9, label=name,
        )  # fmt: skip
    titles = shares.drop_duplicates("cell").set_index("cell")["title"]
    ax.set_yticks(range(len(ORDER)), [titles.get(cell, cell) for cell in ORDER])
    ax.set(ylim=(len(ORDER) - 0.5, -0.5), xlabel="accuracy")
    ax.grid(axis="x")
    return ax


def plot_latent_changes(latents: pd.DataFrame, ax: Axes) -> Axes:
    """Draw each strong latent's change of activation against the change of its map to the class."""
    wanted = [f"{what}_{end}" for what in ("activation", "map") for end in ("before", "after")]
    theme.require_columns(latents, ["status", *wanted], "changed latents")
    for status, (name, colour) in STATUS.items():
        rows = latents[latents["status"] == status]
        ax.scatter(
            rows.activation_after - rows.activation_before, rows.map_after - rows.map_before,
            s=5, color=colour, alpha=0.35, linewidths=0, label=f"{name} ({len(rows):,})",
        )  # fmt: skip
    for line in (ax.axhline, ax.axvline):
        line(0, color="black", linewidth=0.5)
    ax.set(xlabel="change of mean f", ylabel="change of map (logits per f)")
    ax.legend(fontsize="x-small", markerscale=1.5)
    return ax


def plot_overlaps(classes: pd.DataFrame, ax: Axes, *, kinds: Mapping[str, str]) -> Axes:
    """Draw every class's overlap of strongest latents per method, halves and chance beside.

    The halves are other images, and half as many, than those of the overlap: no ceiling of it.
    """
    theme.require_columns(classes, ["method", *OVERLAPS], "overlaps")
    names = method_names(list(classes["method"].unique()), kinds)
    rng = np.random.default_rng(0)
    for i, method in enumerate(names):
        rows = classes[classes["method"] == method]
        spread = rng.uniform(-0.25, 0.25, len(rows))
        colour = KINDS[kinds[method]][1]
        ax.scatter(i + spread, rows.overlap, s=6, color=colour, alpha=0.4, linewidths=0)
        ax.hlines(rows.overlap.mean(), i - 0.35, i + 0.35, color=colour, linewidth=1.6)
    for name, style in (("overlap_halves", "--"), ("overlap_chance", ":")):
        value = classes[name].mean()
        ax.axhline(value, color="black", linewidth=0.9, linestyle=style, label=OVERLAPS[name])
    ax.set_xticks(range(len(names)), names.values())
    ax.set(ylim=(-0.03, 1.03), ylabel="overlap of strongest latents")
    ax.legend(fontsize="x-small")
    return ax


def draw_changes(tables: Mapping[str, pd.DataFrame], *, kinds: Mapping[str, str]) -> Figure:
    """Return the figure: four panels for each data set.

    Args:
        tables: "shares", "classes" and "latents".
        kinds: {method: kind of adaptation}.
    """
    datasets = list(tables["shares"]["dataset"].unique())
    figure = theme.new_figure(theme.PAGE_WIDTH, 5.6 * len(datasets))
    parts = np.atleast_1d(figure.subfigures(len(datasets), 1))
    for part, dataset in zip(parts, datasets, strict=True):
        own = {name: table[table["dataset"] == dataset] for name, table in tables.items()}
        axes = part.subplots(2, 2, height_ratios=(1.25, 1))
        for ax, letter, which in zip(axes[0], "ab", ("base", "novel"), strict=True):
            plot_crossings(own["shares"][own["shares"]["classes"] == which], ax, kinds=kinds)
            ax.set_title(f"{dataset}: {which} classes")
            theme.letter(ax, letter)
        axes[0, 1].tick_params(labelleft=False)
        plot_latent_changes(own["latents"], axes[1, 0])
        plot_overlaps(own["classes"], axes[1, 1], kinds=kinds)
        for ax, letter in zip(axes[1], "cd", strict=True):
            theme.letter(ax, letter)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        part.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return figure


def class_summary(classes: pd.DataFrame) -> pd.DataFrame:
    """Return a row per data set, method and half of the classes: means over classes and seeds.

    With _low and _high, the least and greatest of the seeds' means over classes.
    """
    keys = ["dataset", "method", "classes"]
    values = ["overlap", "overlap_halves", "overlap_chance", "activation_change", "map_change"]
    theme.require_columns(classes, [*keys, "seed", *values], "the table of classes")
    by_seed = classes.groupby([*keys, "seed"], sort=False)[values].mean()
    groups = by_seed.groupby(keys, sort=False)
    parts = [groups.mean(), groups.min().add_suffix("_low"), groups.max().add_suffix("_high")]
    return pd.concat(parts, axis=1).reset_index()


def changes_markdown(
    shares: pd.DataFrame,
    classes: pd.DataFrame,
    *,
    model: str,
    sae: str,
    layer: int,
    strongest: int,
    kinds: Mapping[str, str],
) -> str:
    """Return both tables as Markdown; the keywords are for names and captions."""
    theme.require_columns(shares, [*_CROSSING, "share", "n_seeds", "n_images"], "shares")
    names = method_names(list(shares["method"].unique()), kinds)
    crossing = Layout(
        keys=(Column("dataset", "Set"), Column("classes", "Classes"), Column("title", "Read as")),
        columns=tuple(
            Column(f"{method}_{what}", f"{name}: {title}", digits, scale=100)
            for method, name in names.items()
            for what, title, digits in (("accuracy", "accuracy (%)", 1), ("share", "share (%)", 0))
        ),
        caption=(
            f"What adaptation changes: {model}, concepts read by SAE {sae} at layer {layer}; "
            "accuracy, and share of the adapted model's gain over the frozen one that is retained "
            f"(– where that gain's interval is not above 0). {_counted(shares)} The map is the "
            "later blocks and the text side; where one of them alone is new, the other is the "
            "frozen model's. Old concepts: the frozen model's latents put into the adapted "
            "residual, whose SAE error and prompts stay; new concepts: the reverse. Whole: the "
            "tokens themselves, error and all. Random: the same changes, of other alive "
            "latents, under which tokens move less far (two thirds as far in the demo); moved as "
            "far: scaled to each token's own move. Intervals: 95 % bootstrap over training seeds "
            "and images."
        ),
        source="PatchSAE: Lim et al. 2024, arXiv 2412.05276, §5.",
    )
    summary = class_summary(classes)
    summary["method"] = summary["method"].map(names)
    overlap = Layout(
        keys=(Column("dataset", "Set"), Column("method", "Method"), Column("classes", "Classes")),
        columns=(
            Column("overlap", "Overlap", 2),
            Column("overlap_halves", "Halves, before", 2),
            Column("overlap_chance", "Chance", 2),
            Column("activation_change", "Change of activation", 2),
            Column("map_change", "Change of map", 2),
        ),
        caption=(
            f"Of each class's {strongest} strongest latents, the share that stays among them, on "
            "the same images; the same between two halves of its images before the adaptation, "
            "which compares other images, half as many, and is no ceiling; and by chance. Then how "
            "much their mean activations, and their map to the class, change: sum of absolute "
            "changes over sum of absolute values before. Means over classes and seeds [least, "
            "greatest seed]."
        ),
        source="The map of a latent is what the class's margin gains, at first order, when it "
        "grows by 1 at every token. Halves and chance: beyond the paper.",
    )
    wide = _wide(shares)
    return to_markdown(wide, None, crossing) + "\n" + to_markdown(summary, None, overlap)


def _wide(shares: pd.DataFrame) -> pd.DataFrame:
    """A row per data set, half of the classes and crossing; columns <method>_accuracy, _share."""
    keys = ["dataset", "classes", "cell", "title"]
    ends = ("", "_low", "_high")
    values = [f"{what}{end}" for what in ("accuracy", "share") for end in ends]
    parts = []
    for method, rows in shares.groupby("method", sort=False):
        parts.append(rows.set_index(keys)[values].add_prefix(f"{method}_"))
    wide = pd.concat(parts, axis=1).reset_index()
    place = {name: i for i, name in enumerate(shares["dataset"].unique())}
    wide["rank"] = wide["cell"].map({cell: i for i, cell in enumerate(ORDER)})
    wide["place"] = wide["dataset"].map(place)
    return wide.sort_values(["place", "classes", "rank"], kind="stable")


def _counted(shares: pd.DataFrame) -> str:
    """A sentence with the numbers of seeds and images."""
    seeds = "/".join(map(str, sorted(shares["n_seeds"].unique())))
    images = shares.groupby(["dataset", "classes"], sort=False)["n_images"].first()
    if len(images.unique()) == 1:
        return f"{seeds} seeds, {images.iloc[0]:,} images of either half of the classes."
    listed = ", ".join(f"{d} {c} {n:,}" for (d, c), n in images.items())
    return f"{seeds} seeds; images: {listed}."
