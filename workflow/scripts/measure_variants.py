"""Other readings of Eq. 9 of one SAE for every data set, and its sets of several layers at once."""

from pathlib import Path

import pandas as pd
from _chosen import chosen_set, test_images
from _job import Job
from _suppression import class_texts, load_model

from clip_sae.analyses.suppression.bits import read_bits
from clip_sae.analyses.suppression.choose import CONDITIONS
from clip_sae.analyses.suppression.groups import read_groups, train_counts
from clip_sae.analyses.suppression.several_layers import SeveralLayers
from clip_sae.analyses.suppression.summary import summarise_layer
from clip_sae.analyses.suppression.variants import best_layers
from clip_sae.datasets import read_manifest
from clip_sae.specs import write_text

job = Job(snakemake)
arguments, device = job.arguments, job.torch_device()
points = arguments["max_drop"]
options = {"n_resamples": arguments["resamples"], "seed": arguments["seed"]}


def summary_of(folders: list[str]) -> pd.DataFrame:
    """The summaries of some layers in one table."""
    paths = [Path(folder) for folder in folders]
    parts = [
        summarise_layer(
            pd.read_csv(path / "rows.csv"), read_bits(path / "bits.npz"), points=points, **options
        )
        for path in paths
    ]
    return pd.concat(parts, ignore_index=True)


model = load_model(job) if arguments["several_layers"] else None
tables = []
for name, place in arguments["sets"].items():
    summaries = {case: summary_of(folders) for case, folders in place["cases"].items()}
    table = best_layers(summaries, place["units"], arguments["layers"])
    if model is not None:
        manifest = read_manifest(Path(place["index"]))
        groups = read_groups(manifest, place["attribute"])
        images = {
            (int(layer), split): test_images(
                groups, here, place["images"], arguments["seed"], split
            )
            for layer, here in place["layers"].items()
            for split in ("val", "test")
        }
        text = class_texts(model, place["index"], place["template"], place["names"])
        rows = []
        for condition in CONDITIONS:
            chosen = summaries["headline"].query(
                "split == 'test' and kind == 'latent' and units == @place['units'] "
                "and condition == @condition"
            )
            chosen = [row for _, row in chosen.iterrows() if str(row["layer"]) in place["layers"]]
            sets = [chosen_set(row, place["layers"][str(row["layer"])], device) for row in chosen]
            joined = SeveralLayers(model, text, images, groups, train_counts(manifest, groups))
            scores = [(row["val_worst"], row["val_overall"]) for row in chosen]
            row = joined.row(sets, scores, condition, points, **options)
            about = {"case": "several_layers", "where": row.pop("layers"), "kind": "latent"}
            rows.append({**about, "condition": condition, "units": place["units"], **row})
        table = pd.concat([table, pd.DataFrame(rows)], ignore_index=True)
    table.insert(0, "dataset", name)
    tables.append(table)
table = pd.concat(tables, ignore_index=True)
write_text(Path(snakemake.output[0]), table.to_csv(index=False))
job.publish(snakemake.output[0], rows=len(table))
