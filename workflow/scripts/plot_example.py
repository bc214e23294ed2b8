"""Draw Fig. 1 (a spurious attribute taken out) or Fig. 3 (a written word taken out)."""

from pathlib import Path

import numpy as np
from _figure import draw
from _pixels import pixels_of

from clip_sae.plotting.argument_pictures import (
    AnsweredImage,
    SuppressedExample,
    draw_argument,
    draw_attack,
)
from clip_sae.specs import read_json


def suppressed(place, grid):
    """The example of one set, or None where nothing was chosen."""
    found = read_json(Path(place["file"]))
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
        pixels_of(place, [example["row"]])[example["row"]],
        [f"latent {latent['unit']}" for latent in example["latents"]],
        np.array(maps).reshape(-1, *grid),
        classes,
        example["before"],
        example["after"],
        true,
    )


def fig1(arguments):
    found = [suppressed(place, arguments["grid"]) for place in arguments["sets"]]
    rule = "images: of the group misled most, the one whose answer changes most"
    asked = any(place["example"] is not None for place in arguments["sets"])
    return draw_argument(
        [example for example in found if example is not None], rule="" if asked else rule
    )


def fig3(arguments):
    [place] = arguments["sets"]
    example = read_json(Path(place["file"]))["example"]
    if example is None:
        return draw_attack([], edit="")
    pixels = pixels_of(place, example["rows"].values())
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


FIGURES = {"fig1": fig1, "fig3": fig3}

draw(snakemake, lambda arguments: FIGURES[arguments["figure"]](arguments))
