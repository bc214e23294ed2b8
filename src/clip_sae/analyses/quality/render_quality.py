"""The quality table of latents, as Markdown."""

from collections.abc import Mapping, Sequence

import pandas as pd

from clip_sae.plotting.tables import Column, Layout, to_markdown


def quality_layout(caption: Mapping, columns: Sequence[str], *, seeds: bool) -> Layout:
    """Return what the table prints.

    Args:
        caption: model, encoder, circular, factors, top_images, split.
        columns: of the table: factors that are not known have none.
        seeds: whether rows are means over seeds.
    """
    encoder = caption["encoder"]
    space = f"{encoder}{', circular' if caption['circular'] else ''}"
    spaces = {"encoder": space, "factors": "true factors"}
    spaces |= {name: name for name in caption["factors"]}
    shown = [
        Column(f"{measure}_{name}", f"{short} ({header})")
        for measure, short in (("monosemanticity", "MS"), ("clarity", "Clarity"))
        for name, header in spaces.items()
        if f"{measure}_{name}" in columns and (measure == "monosemanticity" or name in
                                               ("encoder", "factors"))
    ]  # fmt: skip
    if seeds:
        shown += [
            Column("matched_cosine", "Matched cosine"),
            Column("nearest_cosine", "Nearest cosine"),
            Column("matched_floor", "Matched cosine, random"),
        ]
    interval = (
        "means over seeds [least, greatest] of means over units"
        if seeds
        else "means over units with 95 % bootstrap intervals over units"
    )
    text = (
        f"Latent quality on {caption['split']} ({{n_images}} images). MS: monosemanticity score; "
        f"clarity: of the {caption['top_images']} strongest images; {interval}. n: units with as "
        f"many images. Untrained: the weights that training starts from. "
    )
    if caption["circular"]:
        text += f"The encoder is {encoder} itself, whose latents these are: circular. "
    if caption["factors"]:
        text += f"True factors: {', '.join(caption['factors'])}. "
    if seeds:
        text += (
            "Cosine of decoder rows with the other seeds: matched one to one, and of the nearest. "
        )
    floors = "The floor is what a unit that is equal on all images has: {floors}."
    return Layout(
        keys=(Column("name", "Units"), Column("layer", "Layer", 0)),
        columns=(Column("n_units", "n", 0), *shown),
        caption=text + floors,
        source="MS: Pach et al. 2025, arXiv 2504.02821. Clarity: Dreyer et al. 2025, arXiv "
        "2501.05398.",
    )


def quality_markdown(table: pd.DataFrame, caption: Mapping, *, seeds: bool = False) -> str:
    """Render a quality table: a row per SAE (or, over seeds, per group of SAEs) and control."""
    layout = quality_layout(caption, list(table.columns), seeds=seeds)
    named = table.assign(name=[_name(row) for row in table.itertuples()])
    # The neurons of a layer are the same whatever the SAE, and so are untrained SAEs, which have no
    # thresholds yet, unless they are TopK.
    same = named.duplicated(["kind", "layer", "n_units", "monosemanticity_encoder"])
    named = named[~same | (named["kind"] == "latent")]
    spaces = {"encoder": caption["encoder"], "factors": "true factors"}
    spaces |= {name: name for name in caption["factors"]}
    floors = ", ".join(
        f"{named[f'floor_{name}'].iloc[0]:.3f} ({header})"
        for name, header in spaces.items()
        if f"floor_{name}" in named
    )
    n_images = " or ".join(f"{n:,}" for n in sorted(set(table["n_images"])))
    text = layout.caption.format(n_images=n_images, floors=floors)
    filled = Layout(layout.keys, layout.columns, text, layout.source)
    return to_markdown(named, None, filled)


def _name(row) -> str:
    """The recipe, its variant where it has several, and what kind of units."""
    if row.kind == "neuron":
        return "neurons"
    if row.kind == "untrained":
        return f"{row.recipe}, untrained"
    variant = row.sae if hasattr(row, "sae") else row.group
    return row.recipe if variant == "base" else f"{row.recipe}/{variant}"
