"""Concepts and maps of one adaptation crossed with the frozen model's, and the latents of classes.

Into the rule's folder: answers.npz ("classes|seed|crossing" → [image]; "classes|label"),
classes.csv and latents.csv.
"""

import io
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from _adaptation import class_names, load_adapted, load_model, pixels_of, usable
from _job import Job

from clip_sae.adaptation.few_shot import ClassHalves
from clip_sae.analyses.changes.answers import Task, answer_cells
from clip_sae.analyses.changes.exchange import random_permutations
from clip_sae.analyses.changes.latents import read_classes_of
from clip_sae.analyses.changes.strongest import class_change_table, latent_table
from clip_sae.sae import Sae
from clip_sae.specs import write_bytes, write_text

job = Job(snakemake)
arguments = job.arguments
model = load_model(job)
[frozen] = load_adapted(model, arguments["frozen"]).values()
adapted = load_adapted(model, arguments["method"])
sae = Sae.load(Path(arguments["sae"]), model.device)
names, batch_images = class_names(arguments["index"]), job.batch("batch_images")
halves = ClassHalves(len(names))
manifest = usable(arguments["index"], arguments["split"])


def task_of(classes: range, cache) -> Task:
    """The images of some classes; decoded once, into a file, as several passes read them."""
    rows = manifest[manifest["label_idx"].isin(classes)]
    if rows.empty:
        raise ValueError(
            f"the {arguments['split']} split has no image of the classes {names[classes.start]!r} "
            f"to {names[classes.stop - 1]!r}, so nothing can be said of them. Name another split "
            "as `test` of the data set under analyses.adaptation.datasets."
        )
    size = model.architecture.image_size
    pixels = np.memmap(cache, dtype=np.uint8, mode="w+", shape=(len(rows), size, size, 3))
    for start in range(0, len(rows), batch_images):
        part = rows.iloc[start : start + batch_images]
        pixels[start : start + len(part)] = pixels_of(
            part, arguments["data_root"], arguments["decoding"]
        )

    def batches():
        for start in range(0, len(rows), batch_images):
            which = slice(start, min(start + batch_images, len(rows)))
            yield which, model.normalise(np.array(pixels[which]))

    label = rows["label_idx"].to_numpy() - classes.start
    return Task(batches, label, [names[c] for c in classes])


answers, tables = {}, {"classes": [], "latents": []}
for which, classes in (("base", halves.base), ("novel", halves.novel)):
    with tempfile.TemporaryFile() as cache:
        task = task_of(classes, cache)
        place = (sae, arguments["layer"], task)
        before = read_classes_of(frozen, *place, threshold=arguments["threshold"])
        answers[f"{which}|label"] = task.label
        for seed, one in adapted.items():
            after = read_classes_of(one, *place, threshold=arguments["threshold"])
            alive = before.counts.alive | after.counts.alive
            random = random_permutations(alive, arguments["random_seeds"], arguments["seed"])
            for cell, right in answer_cells(frozen, one, *place, random).items():
                answers[f"{which}|{seed}|{cell}"] = right
            k = min(arguments["strongest"], sae.d_sae)
            for name, make in (("classes", class_change_table), ("latents", latent_table)):
                table = make(before, after, task.names, k)
                table.insert(0, "seed", seed)
                table.insert(0, "classes", which)
                tables[name].append(table)
            job.log.info("%s classes, seed %d: done", which, seed)

folder = Path(snakemake.output[0]).parent
buffer = io.BytesIO()
np.savez_compressed(buffer, **answers)
write_bytes(folder / "answers.npz", buffer.getvalue())
for name, parts in tables.items():
    write_text(folder / f"{name}.csv", pd.concat(parts).to_csv(index=False))
job.publish(snakemake.output[0], n_images=len(manifest), seeds=list(adapted))
