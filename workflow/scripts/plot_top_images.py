"""Draw Fig. 2 or Fig. 10: the top images of chosen latents beside neurons."""

from pathlib import Path

import numpy as np
import pandas as pd
from _figure import draw
from _pixels import pixels_of

from clip_sae.plotting.image_grid import Concept, Strip, draw_concepts

N_PLACES = {"fig2": 6, "fig10": 8}
RULES = {"mean": "mean over tokens", "max": "highest token", "cls": "CLS"}


def strip(rows, maps, pixels, grid):
    """One unit: rows of shown.csv, and its patches [image, token]."""
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


def concepts(place, n_units, n_places, grid):
    """The concepts of one data set."""
    shown = pd.read_csv(Path(place["folder"]) / "shown.csv")
    maps = np.load(Path(place["folder"]) / "maps.npy", allow_pickle=False)
    shown = shown[shown["place"] < n_places]
    pixels = pixels_of(place, shown["row"])
    for concept, of_concept in shown.groupby("concept", sort=False):
        if "latent" not in set(of_concept["kind"]):
            continue  # the chosen set has nothing on this side
        sides = {}
        for kind in ("latent", "neuron"):
            of_kind = of_concept[of_concept["kind"] == kind]
            units = of_kind["unit"].unique()[:n_units]
            sides[kind] = [
                strip(of_kind[of_kind["unit"] == unit], maps, pixels, grid) for unit in units
            ]
        first = of_concept.iloc[0]
        sae = of_concept.loc[of_concept["kind"] == "latent", "units"].iloc[0]
        title = f"{concept} ({first['dataset']}, layer {first['layer']}, {sae})"
        yield Concept(title, sides["latent"], sides["neuron"]), first["ranking"]


def figure(arguments):
    name, n_places = arguments["figure"], min(N_PLACES[arguments["figure"]], arguments["images"])
    n_units = 1 if name == "fig2" else arguments["units"]
    found = [
        pair
        for place in arguments["sets"]
        for pair in concepts(place, n_units, n_places, arguments["grid"])
    ]
    rankings = dict.fromkeys(RULES[ranking] for _, ranking in found)
    ranked = " or, for sets chosen on it, ".join(rankings)
    rule = f"images ordered by the unit's activation ({ranked}); “not chosen”: outside the set kept"
    return draw_concepts(
        [concept for concept, _ in found], n_places=n_places, plain=name == "fig2", rule=rule
    )


draw(snakemake, figure)
