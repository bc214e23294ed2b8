"""The images that activate chosen latents most, next to those of neurons of the base model.

Steering paper Figs 2 and 10 (App. 12).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from clip_sae.datasets.pixels import pixels_by_row
from clip_sae.plotting import theme
from clip_sae.plotting.image_grid import GAP, Strip, add_panel, add_text, draw_scale, draw_strip

# Images of each unit that fit into the figure.
N_PLACES = {"fig2": 6, "fig10": 8}
RULES = {"mean": "mean over tokens", "max": "highest token", "cls": "CLS"}
HEADINGS = ("SAE latents", "neurons of the base model")
TITLE, LABEL, SPACE, FOOT = 0.2, 0.15, 0.05, 0.42  # inches of height
HALF = theme.PAGE_WIDTH / 2 - 0.08  # inches, of one column
Sets = Sequence[Mapping]  # for each set: "found", the measurement, and "images" (ImageFiles)


@dataclass(frozen=True)
class Concept:
    """The strips of one concept: latents on the left, neurons on the right."""

    title: str
    latents: Sequence[Strip]
    neurons: Sequence[Strip]
    ranking: str  # of the images, a key of `RULES`

    @property
    def n_rows(self) -> int:
        return max(len(self.latents), len(self.neurons))


def fig2(job, *, sets: Sets, grid: Sequence[int], n_images: int) -> Figure:
    """Draw the top images of one unit of each kind and concept, without and with their maps."""
    return _top_images("fig2", sets, grid, n_images, n_units=1)


def fig10(job, *, sets: Sets, grid: Sequence[int], n_images: int, n_units: int) -> Figure:
    """Draw the top images of several units of each kind and concept, with their maps."""
    return _top_images("fig10", sets, grid, n_images, n_units)


def _top_images(name: str, sets: Sets, grid: Sequence[int], n_images: int, n_units: int) -> Figure:
    """Return all concepts, one below the other."""
    n_places, plain = min(N_PLACES[name], n_images), name == "fig2"
    concepts = [concept for own in sets for concept in _concepts(own, n_units, n_places, grid)]
    if not concepts:
        return theme.nothing_to_show()
    image = HALF / (n_places * (1 + GAP) - GAP)
    strip = image * (2 + GAP if plain else 1)
    n_strips = sum(concept.n_rows for concept in concepts)
    top = TITLE + len(concepts) * TITLE + n_strips * (LABEL + strip + SPACE) + FOOT
    figure = Figure(figsize=(theme.PAGE_WIDTH, top))
    lefts = (0.0, theme.PAGE_WIDTH - HALF)
    for left, heading in zip(lefts, HEADINGS, strict=True):
        add_text(figure, left, top - 0.02, heading, size=8.5, color="#444444")
    top -= TITLE
    for concept in concepts:
        add_text(figure, 0, top - 0.03, concept.title, size=8.5, weight="bold")
        top -= TITLE
        for pair in zip_longest(concept.latents, concept.neurons):
            top -= LABEL + strip
            for left, one in zip(lefts, pair, strict=True):
                if one is not None:
                    draw_strip(
                        add_panel(figure, left, top, HALF, strip), one, n_places, plain=plain
                    )
            top -= SPACE
    draw_scale(add_panel(figure, 0.0, 0.24, 1.6, 0.09))
    add_text(figure, 1.85, 0.34, _note(concepts), size=7.5)
    return figure


def _note(concepts: Sequence[Concept]) -> str:
    """Return the explanation of the colours and of the order of images."""
    rankings = dict.fromkeys(RULES[concept.ranking] for concept in concepts)
    ranked = " or, for sets chosen on it, ".join(rankings)
    return (
        "activation on the patch, from the row's lowest (0 for latents) to its highest\n"
        f"images ordered by the unit's activation ({ranked}); “not chosen”: outside the set kept"
    )


def _concepts(own: Mapping, n_units: int, n_places: int, grid: Sequence[int]) -> Iterator[Concept]:
    """Yield the concepts of one data set; one without a chosen latent is left out."""
    shown = pd.read_csv(own["found"] / "shown.csv")
    maps = np.load(own["found"] / "maps.npy", allow_pickle=False)
    shown = shown[shown["place"] < n_places]
    pixels = pixels_by_row(own["images"], shown["row"])
    for name, of_concept in shown.groupby("concept", sort=False):
        if "latent" not in set(of_concept["kind"]):
            continue
        sides = []
        for kind in ("latent", "neuron"):
            of_kind = of_concept[of_concept["kind"] == kind]
            units = of_kind["unit"].unique()[:n_units]
            rows = (of_kind[of_kind["unit"] == unit] for unit in units)
            sides.append([_strip(of_unit, maps, pixels, grid) for of_unit in rows])
        first = of_concept.iloc[0]
        sae = of_concept.loc[of_concept["kind"] == "latent", "units"].iloc[0]
        title = f"{name} ({first['dataset']}, layer {first['layer']}, {sae})"
        yield Concept(title, *sides, first["ranking"])


def _strip(
    rows: pd.DataFrame, maps: np.ndarray, pixels: Mapping[int, np.ndarray], grid: Sequence[int]
) -> Strip:
    """Return one unit's strip; `rows` are of shown.csv, maps [image, token]."""
    first, patches = rows.iloc[0], maps[rows.index, 1:].reshape(len(rows), *grid)
    label = f"{first['kind']} {first['unit']}, gap {first['gap']:+.2g}"
    if np.isnan(patches).all():
        low, high = 0.0, 0.0
        label += "; an SAE of CLS alone has no map"
    else:
        low, high = 0.0 if first["kind"] == "latent" else patches.min(), patches.max()
        label += f"; patches {low:.2g} to {high:.2g}"
    if not first["in_set"]:
        label += " (not chosen)"
    images = np.stack([pixels[row] for row in rows["row"]])
    return Strip(label, images, np.nan_to_num(patches), low, high)
