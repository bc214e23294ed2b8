"""The model as it is and without the set of Table 1, under other prompts, for every data set."""

from collections.abc import Mapping

import pandas as pd

from clip_sae.analyses.shared.embeddings import embeddings_without
from clip_sae.analyses.shared.groups import read_groups, train_counts
from clip_sae.analyses.shared.models import load_model
from clip_sae.analyses.suppression.inputs import chosen_set, class_texts, shown_images
from clip_sae.analyses.suppression.prompts import Embedded, prompt_table
from clip_sae.analyses.suppression.tables import best_layer
from clip_sae.clip.model import ClipModel
from clip_sae.datasets.manifest import read_manifest
from clip_sae.planning.inputs import ClipFiles


def measure_prompts(
    job, *, clip: ClipFiles, sets: Mapping[str, Mapping], resamples: int, seed: int
) -> pd.DataFrame:
    """Return the rows of `prompt_table` of all data sets, with the columns dataset and chosen.

    Args:
        sets: {data set: index, summary, layers {layer: contrast, saes, stores, tokens_read},
            columns, and its block's attribute, images and sweep}.
    """
    model, tables = load_model(job, clip), []
    for name, place in sets.items():
        row = best_layer(pd.read_csv(place["summary"]), dict(place["columns"]))
        table = _of_set(job, model, place, row, n_resamples=resamples, seed=seed)
        table.insert(0, "chosen", f"layer {row['layer']}, {row['units']}")
        table.insert(0, "dataset", name)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _of_set(
    job, model: ClipModel, place: Mapping, row: pd.Series, *, n_resamples: int, seed: int
) -> pd.DataFrame:
    """Return the rows of one data set; `row` is the summary's, of the set that is taken out."""
    here = place["layers"][str(row["layer"])]
    manifest = read_manifest(place["index"])
    groups = read_groups(manifest, place["attribute"])
    images = shown_images(groups, here, place["images"], seed)
    layer_set = chosen_set(row, here, job.torch_device())
    clean, without = (
        embeddings_without(model, layer_set.layer, images, sets).cpu() for sets in ([], [layer_set])
    )
    texts = {
        (template, " | ".join(names)): class_texts(model, place["index"], template, names).cpu()
        for names in place["sweep"]["names"]
        for template in place["sweep"]["templates"]
    }
    return prompt_table(
        Embedded(clean, groups.at(images.rows)),
        without,
        texts,
        train_counts(manifest, groups),
        n_resamples=n_resamples,
        seed=seed,
    )
