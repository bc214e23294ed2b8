"""Cross the concepts and maps of one adaptation with the frozen model's; count latents by class.

PatchSAE §5.
"""

import tempfile
from collections.abc import Mapping
from typing import IO

import numpy as np
import pandas as pd

from clip_sae.adaptation import AdaptedClip
from clip_sae.adaptation.few_shot import ClassHalves
from clip_sae.analyses.changes.class_latents import (
    class_change_table,
    latent_table,
    read_classes_of,
)
from clip_sae.analyses.changes.crossings import Task, answer_cells
from clip_sae.analyses.changes.exchange import random_permutations
from clip_sae.analyses.shared.adapted import load_adapted, usable_rows
from clip_sae.analyses.shared.models import class_names, load_model
from clip_sae.clip.model import ClipModel
from clip_sae.datasets.pixels import pixels_of
from clip_sae.files import csv_text
from clip_sae.npz import write_arrays
from clip_sae.planning.inputs import ClipFiles, ImageFiles, SaeFiles
from clip_sae.planning.specs import write_text
from clip_sae.sae import Sae


def measure_changes(
    job,
    *,
    clip: ClipFiles,
    images: ImageFiles,
    adapted: Mapping,
    sae: SaeFiles,
    split: str,
    threshold: float,
    strongest: int,
    random_seeds: int,
    seed: int,
) -> None:
    """Write answers.npz, classes.csv and latents.csv.

    answers.npz: "classes|seed|crossing" → [image] 1 for a right answer, else 0 (the mean of the
    draws for a control); "classes|label" → [image]. Classes are "base" or "novel".

    Args:
        adapted: the models of one method, see `load_adapted`.
        strongest: number of latents of each class.
        random_seeds: draws of the random controls.
    """
    model = load_model(job, clip)
    frozen = AdaptedClip.frozen(model, adapted["template"])
    models = load_adapted(model, adapted)
    opened, names = Sae.load(sae.folder, model.device), class_names(images.index)
    manifest = usable_rows(images.index, split)
    halves = ClassHalves(len(names))
    answers, tables = {}, {"classes": [], "latents": []}
    for which, classes in (("base", halves.base), ("novel", halves.novel)):
        rows = _rows_of(manifest, classes, names, split)
        with tempfile.TemporaryFile() as cache:
            task = _task(model, images, rows, classes, names, job.batch("batch_images"), cache)
            read = (opened, sae.layer, task)
            before = read_classes_of(frozen, *read, threshold=threshold)
            answers[f"{which}|label"] = task.label
            for trained_with, one in models.items():
                after = read_classes_of(one, *read, threshold=threshold)
                alive = before.counts.alive | after.counts.alive
                random = random_permutations(alive, random_seeds, seed)
                for cell, right in answer_cells(frozen, one, *read, random).items():
                    answers[f"{which}|{trained_with}|{cell}"] = right
                k = min(strongest, opened.d_sae)
                for name, make in (("classes", class_change_table), ("latents", latent_table)):
                    table = make(before, after, task.names, k)
                    table.insert(0, "seed", trained_with)
                    table.insert(0, "classes", which)
                    tables[name].append(table)
                job.log.info("%s classes, seed %d: done", which, trained_with)
    write_arrays(job.folder / "answers.npz", answers)
    for name, parts in tables.items():
        write_text(job.folder / f"{name}.csv", csv_text(pd.concat(parts)))
    job.facts |= {"n_images": len(manifest), "seeds": list(models)}


def _rows_of(manifest: pd.DataFrame, classes: range, names: list[str], split: str) -> pd.DataFrame:
    """Return the manifest's rows of some classes. Raises ValueError if it has none."""
    rows = manifest[manifest["label_idx"].isin(classes)]
    if rows.empty:
        raise ValueError(
            f"the {split} split has no image of the classes {names[classes.start]!r} to "
            f"{names[classes.stop - 1]!r}, so their accuracy is undefined. Name another split as "
            "`test` of the data set under analyses.adaptation.datasets."
        )
    return rows


def _task(
    model: ClipModel,
    images: ImageFiles,
    rows: pd.DataFrame,
    classes: range,
    names: list[str],
    batch_images: int,
    cache: IO[bytes],
) -> Task:
    """Return the images of `rows`, decoded once into the file `cache` for several passes."""
    size = model.architecture.image_size
    pixels = np.memmap(cache, dtype=np.uint8, mode="w+", shape=(len(rows), size, size, 3))
    for start in range(0, len(rows), batch_images):
        part = rows.iloc[start : start + batch_images]
        pixels[start : start + len(part)] = pixels_of(images, part)

    def batches():
        for start in range(0, len(rows), batch_images):
            which = slice(start, min(start + batch_images, len(rows)))
            yield which, model.normalise(np.array(pixels[which]))

    label = rows["label_idx"].to_numpy() - classes.start
    return Task(batches, label, [names[c] for c in classes])
