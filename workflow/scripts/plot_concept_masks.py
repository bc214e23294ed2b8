"""Draw images with their strongest latents as masks, each beside its reference images."""

from pathlib import Path

import numpy as np
import pandas as pd
from _figure import draw
from _pixels import pixels_of

from clip_sae.plotting.concept_masks import ExplainedImage, ExplainedLatent, draw_explained
from clip_sae.plotting.image_grid import Strip

N_REFERENCES = 5


def figure(arguments):
    measured, masks = Path(arguments["measured"]), Path(arguments["masks"])
    examples = pd.read_csv(masks / "examples.csv")
    maps = np.load(masks / "example_maps.npy", allow_pickle=False)
    known = arguments["known_masks"]
    objects = np.load(masks / "example_masks.npy", allow_pickle=False) if known else None
    table = pd.read_csv(measured / "concepts.csv")
    table = table[table["kind"] == "latent"].set_index("unit")
    references = np.load(measured / "maps.npy", mmap_mode="r", allow_pickle=False)
    images = table["images"].fillna("").str.split()
    rows = {unit: [int(r) for r in images[unit][:N_REFERENCES]] for unit in set(examples["unit"])}
    shown = {row for found in rows.values() for row in found} | set(examples["row"])
    pixels, grid = pixels_of(arguments["place"], shown), arguments["grid"]

    def latent(i, example):
        found, about = rows[example.unit], table.loc[example.unit]
        over = references[example.unit, : len(found)].reshape(-1, *grid).astype(float)
        label = (f"latent {example.unit}, {example.role}: top images "
                 f"{100 * about['top_label_share']:.0f} % {about['top_label']}")  # fmt: skip
        strip = Strip(label, np.stack([pixels[row] for row in found]), over, 0.0, over.max())
        return ExplainedLatent(maps[i].reshape(grid), strip)

    explained = []
    for _, rows_of in examples.groupby("position", sort=False):
        first = rows_of.iloc[0]
        latents = [latent(example.Index, example) for example in rows_of.itertuples()]
        outline = objects[rows_of.index[0]] if known else None
        title = f"{first['label']}, IoU {first['class_iou']:.2f}" if known else first["label"]
        explained.append(ExplainedImage(title, pixels[first["row"]], outline, latents))
    which = "of median IoU of its class's latent" if known else "that comes first"
    picked = "named in the config" if arguments["chosen"] else f"of each class the one {which}"
    held_out = "held-out images, " if known else "images "
    rule = f"{arguments['sae']}, layer {arguments['layer']}; {held_out}{picked}"
    rule += "\nblue: the object's true outline" if known else ""
    return draw_explained(explained, n_references=N_REFERENCES, rule=rule)


draw(snakemake, figure)
