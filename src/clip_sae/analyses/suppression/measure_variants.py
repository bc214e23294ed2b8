"""Other readings of Eq. 9 of one SAE for every data set, and its sets of several layers at once."""

from collections.abc import Mapping, Sequence

import pandas as pd

from clip_sae.analyses.shared.groups import read_groups, train_counts
from clip_sae.analyses.shared.models import load_model
from clip_sae.analyses.shared.names import CONDITIONS
from clip_sae.analyses.suppression.choose_suppression import summary_of
from clip_sae.analyses.suppression.inputs import chosen_set, class_texts, shown_images
from clip_sae.analyses.suppression.several_layers import SeveralLayers
from clip_sae.analyses.suppression.variants import best_layers
from clip_sae.clip.model import ClipModel
from clip_sae.datasets.manifest import read_manifest
from clip_sae.planning.inputs import ClipFiles


def measure_variants(
    job,
    *,
    clip: ClipFiles | None,
    sets: Mapping[str, Mapping],
    layers: Sequence[int],
    max_drop: float,
    resamples: int,
    seed: int,
) -> pd.DataFrame:
    """Return the rows of `best_layers`, then of the joined layers, with the column dataset.

    Args:
        clip: None where no layers are joined.
        sets: {data set: cases {case: folders of its layers}, units (the SAE's label), joined (see
            `_joined_rows`, or None)}.
        layers: that may be picked.
    """
    options = {"n_resamples": resamples, "seed": seed}
    model = None if clip is None else load_model(job, clip)
    tables = []
    for name, place in sets.items():
        summaries = {case: summary_of(found, **options) for case, found in place["cases"].items()}
        table = best_layers(summaries, place["units"], layers)
        if model is not None:
            summary = summaries[place["joined"]["case"]]
            rows = _joined_rows(job, model, summary, place, max_drop=max_drop, **options)
            table = pd.concat([table, pd.DataFrame(rows)], ignore_index=True)
        table.insert(0, "dataset", name)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _joined_rows(
    job, model: ClipModel, summary: pd.DataFrame, place: Mapping, *, max_drop: float, **options: int
) -> list[dict]:
    """Return a row per condition: the chosen sets of several layers of one data set, taken out.

    Args:
        summary: of the case whose sets are joined; place: has units, and joined: case, index,
            layers {layer: contrast, saes, stores, tokens_read}, attribute, images, template, names.
    """
    joined, units = place["joined"], place["units"]
    manifest = read_manifest(joined["index"])
    groups = read_groups(manifest, joined["attribute"])
    images = {
        (int(layer), split): shown_images(groups, here, joined["images"], options["seed"], split)
        for layer, here in joined["layers"].items()
        for split in ("val", "test")
    }
    text = class_texts(model, joined["index"], joined["template"], joined["names"])
    several = SeveralLayers(model, text, images, groups, train_counts(manifest, groups))
    latents = summary[
        (summary["split"] == "test")
        & (summary["kind"] == "latent")
        & (summary["units"] == units)
        & summary["layer"].astype(str).isin(list(joined["layers"]))
    ]
    rows = []
    for condition in CONDITIONS:
        chosen = [row for _, row in latents[latents["condition"] == condition].iterrows()]
        sets = [
            chosen_set(row, joined["layers"][str(row["layer"])], job.torch_device())
            for row in chosen
        ]
        scores = [(row["val_worst"], row["val_overall"]) for row in chosen]
        row = several.row(sets, scores, condition, max_drop, **options)
        about = {"case": "several_layers", "where": row.pop("layers"), "kind": "latent"}
        rows.append({**about, "condition": condition, "units": units, **row})
    return rows
