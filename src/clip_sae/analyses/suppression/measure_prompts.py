"""Accuracies of the model as it is and without the set of Table 1, under other prompts.

Steering paper Tables 1 and 5 to 8 name no prompt, and prompts move the worst group of Waterbirds by
tens of points. The config declares the headline's prompt; this is the spread around it.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from torch import Tensor

from clip_sae.analyses.shared.edited_embeddings import embeddings_without
from clip_sae.analyses.shared.models import load_model
from clip_sae.analyses.suppression.choose import best_on_validation, strict_rows
from clip_sae.analyses.suppression.grouped_set import Embedded, GroupedSet, chosen_set
from clip_sae.analyses.suppression.set_summary import compare
from clip_sae.analyses.suppression.text_side import predictions
from clip_sae.clip.model import ClipModel
from clip_sae.planning.inputs import ClipFiles


def measure_prompts(
    job, *, clip: ClipFiles, sets: Mapping[str, Mapping], resamples: int, seed: int
) -> pd.DataFrame:
    """Return the rows of `prompt_table` of all data sets, with the columns dataset and chosen.

    Args:
        sets: {data set: index, summary, layers {layer: contrast, saes, stores, tokens_read},
            columns, and its section's attribute, images and sweep}.
    """
    model, tables = load_model(job, clip), []
    for name, entry in sets.items():
        latents = strict_rows(pd.read_csv(entry["summary"]), "latent")
        row = best_on_validation(latents, [sae for _, sae in entry["columns"]])
        table = _of_set(job, model, entry, row, n_resamples=resamples, seed=seed)
        table.insert(0, "chosen", f"layer {row['layer']}, {row['units']}")
        table.insert(0, "dataset", name)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _of_set(
    job, model: ClipModel, entry: Mapping, row: pd.Series, *, n_resamples: int, seed: int
) -> pd.DataFrame:
    """Return the rows of one data set; `row` is the summary's, of the chosen set."""
    files = entry["layers"][str(row["layer"])]
    own = GroupedSet(entry["index"], entry["attribute"], entry["images"], seed)
    images = own.images(files["stores"]["test"], tokens=files["tokens_read"])
    layer_set = chosen_set(row, files, job.torch_device())
    clean, without = (
        embeddings_without(model, layer_set.layer, images, sets).cpu() for sets in ([], [layer_set])
    )
    texts = {
        (template, " | ".join(names)): own.texts(model, template, names).cpu()
        for names in entry["sweep"]["names"]
        for template in entry["sweep"]["templates"]
    }
    before = Embedded(clean, own.groups.at(images.rows))
    return prompt_table(before, without, texts, own.train, n_resamples=n_resamples, seed=seed)


def prompt_table(
    before: Embedded,
    after: Tensor,
    texts: Mapping[tuple[str, str], Tensor],
    train: np.ndarray,
    **options: int,
) -> pd.DataFrame:
    """Return a row per prompt: template, names, and the columns of `compare`.

    Args:
        before: clean test images; after: embeddings of the same ones without the set.
        texts: {(template, names): unit class texts [class, d_embed]}.
        train: [group] training images; options: of `compare`.
    """
    rows = []
    for (template, names), text in texts.items():
        right = [before.right(predictions(images, text)) for images in (before.images, after)]
        found = compare(*right, before.groups.group, train, **options)
        rows.append({"template": template, "names": names, **found})
    return pd.DataFrame(rows)
