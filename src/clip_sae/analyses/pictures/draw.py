"""Draw Figs 1, 2, 3 and 10: examples of answers, and the top images of chosen latents."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from clip_sae.analyses.pictures.draw_argument import (
    AnsweredImage,
    SuppressedExample,
    draw_argument,
    draw_attack,
)
from clip_sae.datasets.pixels import pixels_by_row
from clip_sae.planning.specs import read_json
from clip_sae.plotting.image_grid import Concept, Strip, draw_concepts

# Images of each unit that fit into the figure.
N_PLACES = {"fig2": 6, "fig10": 8}
RULES = {"mean": "mean over tokens", "max": "highest token", "cls": "CLS"}
Sets = Sequence[Mapping]  # of each set what was measured, "found", and its "images" (ImageFiles)


# --- examples: an attribute, and a written word, taken out ----------------------------------------


def fig1(job, *, sets: Sets, grid: Sequence[int], chosen_by_user: bool) -> Figure:
    """Draw one example of each set with a spurious attribute.

    Args:
        grid: rows and columns of the patches.
        chosen_by_user: whether the config names an image, so that no rule chose them all.
    """
    found = [_suppressed(place, grid) for place in sets]
    rule = "images: of the group misled most, the one whose answer changes most"
    return draw_argument(
        [example for example in found if example is not None],
        rule="" if chosen_by_user else rule,
    )


def fig3(job, *, sets: Sets) -> Figure:
    """Draw an image without and with a word on it, and the answers with and without the latents."""
    [place] = sets
    example = read_json(place["found"])["example"]
    if example is None:
        return draw_attack([], edit="")
    pixels = pixels_by_row(place["images"], example["rows"].values())
    titles = {"clean": "as it is", "attacked": f"with “{example['written']}” on it"}
    images = [
        AnsweredImage(
            titles[side],
            pixels[example["rows"][side]],
            example["answers"][side]["before"],
            example["answers"][side]["after"],
            example["true"],
            example["written"] if side == "attacked" else None,
        )
        for side in titles
    ]
    edit = f"without {example['n_units']:,} latents of layer {example['layer']}"
    return draw_attack(images, edit=edit)


def _suppressed(place: Mapping, grid: Sequence[int]) -> SuppressedExample | None:
    """The example of one set, or None where nothing was chosen."""
    found = read_json(place["found"])
    example, concepts = found["example"], found["concepts"]
    if example is None:
        return None
    classes, true = example["classes"], example["true"]
    concept = concepts["a" if example["attribute"] else "not_a"]
    title = (
        f"{found['dataset']}: {classes[true]}, {concept}; {example['n_units']:,} of "
        f"{example['n_all']:,} latents of layer {example['layer']} taken out"
    )
    maps = [np.reshape(latent["values"][1:], grid) for latent in example["latents"]]
    return SuppressedExample(
        title,
        pixels_by_row(place["images"], [example["row"]])[example["row"]],
        [f"latent {latent['unit']}" for latent in example["latents"]],
        np.array(maps).reshape(-1, *grid),
        classes,
        example["before"],
        example["after"],
        true,
    )


# --- top images -----------------------------------------------------------------------------------


def fig2(job, *, sets: Sets, grid: Sequence[int], n_images: int) -> Figure:
    """Draw the top images of one unit of each kind and concept."""
    return _top_images("fig2", sets, grid, n_images, n_units=1)


def fig10(job, *, sets: Sets, grid: Sequence[int], n_images: int, n_units: int) -> Figure:
    """Draw the top images of several units of each kind and concept, with their maps."""
    return _top_images("fig10", sets, grid, n_images, n_units)


def _top_images(name: str, sets: Sets, grid: Sequence[int], n_images: int, n_units: int) -> Figure:
    n_places = min(N_PLACES[name], n_images)
    found = [pair for place in sets for pair in _concepts(place, n_units, n_places, grid)]
    rankings = dict.fromkeys(RULES[ranking] for _, ranking in found)
    ranked = " or, for sets chosen on it, ".join(rankings)
    rule = f"images ordered by the unit's activation ({ranked}); “not chosen”: outside the set kept"
    return draw_concepts(
        [concept for concept, _ in found], n_places=n_places, plain=name == "fig2", rule=rule
    )


def _concepts(
    place: Mapping, n_units: int, n_places: int, grid: Sequence[int]
) -> Iterator[tuple[Concept, str]]:
    """Yield the concepts of one data set, each with the ranking of its images."""
    shown = pd.read_csv(place["found"] / "shown.csv")
    maps = np.load(place["found"] / "maps.npy", allow_pickle=False)
    shown = shown[shown["place"] < n_places]
    pixels = pixels_by_row(place["images"], shown["row"])
    for concept, of_concept in shown.groupby("concept", sort=False):
        if "latent" not in set(of_concept["kind"]):
            continue  # the chosen set has nothing on this side
        sides = {}
        for kind in ("latent", "neuron"):
            of_kind = of_concept[of_concept["kind"] == kind]
            units = of_kind["unit"].unique()[:n_units]
            sides[kind] = [
                _strip(of_kind[of_kind["unit"] == unit], maps, pixels, grid) for unit in units
            ]
        first = of_concept.iloc[0]
        sae = of_concept.loc[of_concept["kind"] == "latent", "units"].iloc[0]
        title = f"{concept} ({first['dataset']}, layer {first['layer']}, {sae})"
        yield Concept(title, sides["latent"], sides["neuron"]), first["ranking"]


def _strip(
    rows: pd.DataFrame, maps: np.ndarray, pixels: Mapping[int, np.ndarray], grid: Sequence[int]
) -> Strip:
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
