"""The quality of latents, as Markdown."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from clip_sae.analyses.quality.stability import over_seeds
from clip_sae.plotting.tables import Column, Layout, to_markdown

MATCHED = (
    Column("matched_cosine", "Matched cosine"),
    Column("nearest_cosine", "Nearest cosine"),
    Column("matched_floor", "Matched cosine, random"),
)
SOURCE = "MS: Pach et al. 2025, arXiv 2504.02821. Clarity: Dreyer et al. 2025, arXiv 2501.05398."


def quality(job, *, csv: Path, caption: Mapping, seeds: bool) -> str:
    """Return a row per SAE (or, over seeds, per group of SAEs) and control.

    Args:
        caption: model, encoder, circular, factors, top_images, split.
        seeds: whether to print means over seeds.
    """
    table = pd.read_csv(csv)
    if seeds:
        table = over_seeds(table)
    named = table.assign(name=[_name(row) for row in table.itertuples()])
    # The neurons of a layer are the same whatever the SAE. So are untrained SAEs, which have no
    # thresholds yet, unless they are TopK.
    same = named.duplicated(["kind", "layer", "n_units", "monosemanticity_encoder"])
    named = named[~same | (named["kind"] == "latent")]
    return to_markdown(named, None, _layout(named, caption, seeds))


def _layout(table: pd.DataFrame, caption: Mapping, seeds: bool) -> Layout:
    """Return the columns that the table holds, and the caption: unknown factors have no columns."""
    encoder, factors = caption["encoder"], {name: name for name in caption["factors"]}
    spaces = {"encoder": encoder, "factors": "true factors"} | factors
    headers = spaces | {"encoder": f"{encoder}{', circular' if caption['circular'] else ''}"}
    columns = [
        *(("monosemanticity", "MS", name) for name in headers),
        *(("clarity", "Clarity", name) for name in ("encoder", "factors")),
    ]
    shown = [
        Column(f"{measure}_{name}", f"{short} ({headers[name]})")
        for measure, short, name in columns
        if f"{measure}_{name}" in table
    ]
    floors = ", ".join(
        f"{table[f'floor_{name}'].iloc[0]:.3f} ({header})"
        for name, header in spaces.items()
        if f"floor_{name}" in table
    )
    return Layout(
        keys=(Column("name", "Units"), Column("layer", "Layer", 0)),
        columns=(Column("n_units", "n", 0), *shown, *(MATCHED if seeds else ())),
        caption=" ".join(_sentences(table["n_images"], caption, floors, seeds)),
        source=SOURCE,
    )


def _sentences(n_images: Sequence[int], caption: Mapping, floors: str, seeds: bool) -> list[str]:
    """Return the sentences of the caption."""
    images = " or ".join(f"{n:,}" for n in sorted(set(n_images)))
    interval = (
        "means over seeds [least, greatest] of means over units"
        if seeds
        else "means over units with 95 % bootstrap intervals over units"
    )
    sentences = [
        f"Latent quality on {caption['split']} ({images} images). MS: monosemanticity score; "
        f"clarity: of the {caption['top_images']} strongest images; {interval}. n: units with as "
        "many images. Untrained: the weights that training starts from."
    ]
    if caption["circular"]:
        encoder = caption["encoder"]
        sentences.append(f"The encoder is {encoder} itself, whose latents these are: circular.")
    if caption["factors"]:
        sentences.append(f"True factors: {', '.join(caption['factors'])}.")
    if seeds:
        sentences.append(
            "Cosine of decoder rows with the other seeds: matched one to one, and of the nearest."
        )
    sentences.append(f"The floor is what a unit that is equal on all images has: {floors}.")
    return sentences


def _name(row) -> str:
    """Return the recipe, its variant if it has several, and the kind of units."""
    if row.kind == "neuron":
        return "neurons"
    if row.kind == "untrained":
        return f"{row.recipe}, untrained"
    variant = row.sae if hasattr(row, "sae") else row.group
    return row.recipe if variant == "base" else f"{row.recipe}/{variant}"
