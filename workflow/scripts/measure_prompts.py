"""The model as it is and without the set of Table 1, under other prompts, for every data set."""

from pathlib import Path

import pandas as pd
from _chosen import chosen_set, test_images
from _job import Job
from _suppression import class_texts, load_model

from clip_sae.analyses.suppression.embeddings import embeddings_without
from clip_sae.analyses.suppression.groups import read_groups, train_counts
from clip_sae.analyses.suppression.prompts import Embedded, prompt_table
from clip_sae.analyses.suppression.tables import best_layer
from clip_sae.datasets import read_manifest
from clip_sae.specs import write_text

job = Job(snakemake)
arguments = job.arguments
model, tables = load_model(job), []
for name, place in arguments["sets"].items():
    summary = pd.read_csv(place["summary"])
    row = best_layer(summary, dict(place["columns"]))
    here = place["layers"][str(row["layer"])]
    manifest = read_manifest(Path(place["index"]))
    groups = read_groups(manifest, place["attribute"])
    images = test_images(groups, here, place["images"], arguments["seed"])
    layer_set = chosen_set(row, here, job.torch_device())
    clean, without = (
        embeddings_without(model, layer_set.layer, images, sets).cpu() for sets in ([], [layer_set])
    )
    texts = {
        (template, " | ".join(names)): class_texts(model, place["index"], template, names).cpu()
        for names in place["sweep"]["names"]
        for template in place["sweep"]["templates"]
    }
    table = prompt_table(
        Embedded(clean, groups.at(images.rows)),
        without,
        texts,
        train_counts(manifest, groups),
        n_resamples=arguments["resamples"],
        seed=arguments["seed"],
    )
    table.insert(0, "chosen", f"layer {row['layer']}, {row['units']}")
    table.insert(0, "dataset", name)
    tables.append(table)
table = pd.concat(tables, ignore_index=True)
write_text(Path(snakemake.output[0]), table.to_csv(index=False))
job.publish(snakemake.output[0], rows=len(table))
