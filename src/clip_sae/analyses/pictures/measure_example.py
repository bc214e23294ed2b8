"""Fig. 1: one image of a spurious set, its strongest chosen latents, and the two answers."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from torch import Tensor

from clip_sae.analyses.pictures.chosen import example_image, example_row, strongest_units
from clip_sae.analyses.pictures.pictured import (
    PicturedSet,
    Saes,
    class_probabilities,
    pictured,
)
from clip_sae.analyses.shared.embeddings import LayerSet, embeddings_without
from clip_sae.analyses.shared.groups import Groups, read_groups
from clip_sae.analyses.shared.models import class_names, load_model, prompts
from clip_sae.analyses.shared.store_images import StoreImages
from clip_sae.analyses.shared.top_images import token_values
from clip_sae.analyses.shared.units import Latents
from clip_sae.clip.model import ClipModel
from clip_sae.clip.zeroshot import class_embeddings
from clip_sae.datasets.manifest import read_manifest
from clip_sae.planning.inputs import ClipFiles
from clip_sae.planning.specs import json_text
from clip_sae.sae import Sae
from clip_sae.store import ActivationStore


def measure_example(
    job,
    *,
    clip: ClipFiles,
    index: Path,
    chosen: Mapping[str, Path],
    gaps: Mapping[str, Path],
    stores: Mapping[str, Path],
    saes: Saes,
    name: str,
    example: str | None,
    latents: int,
    attribute: str,
    concepts: Mapping[str, str],
    template: str,
    names: Sequence[str] | None,
) -> str:
    """Return JSON: {"dataset", "concepts", "example"}, the example null where nothing was chosen.

    The example: row, path, true class and attribute of the image, the chosen set, probabilities of
    the classes before and after, and the values [token] of its strongest chosen latents.

    Args:
        chosen, gaps: as of `pictured`; stores: by layer.
        example: path of the image; None for the one that shows most.
        latents: number of latents; names: of the classes, None for those of the data set.
    """
    found, shown = pictured(chosen, gaps, saes), None
    if found is None:
        job.log.warning("%s: every chosen set is empty, so there is no example.", name)
    else:
        model, store = load_model(job, clip), ActivationStore(stores[found.layer])
        manifest, rows = read_manifest(index), np.asarray(store.source_index)
        images = StoreImages(
            store, rows if example is None else example_row(manifest, example, rows)
        )
        names = names or class_names(index)
        text = class_embeddings(model, names, prompts(template))
        units = Latents(Sae.load(found.sae.folder, model.device))
        before, after = _answers(model, images, found, units, text)
        here = read_groups(manifest, attribute).at(images.rows)
        place = _shown_image(before, after, here)
        row = int(images.rows[place])
        shown = {
            "row": row,
            "path": manifest.loc[row, "path"],
            "true": int(here.label[place]),
            "attribute": int(here.attribute[place]),
            "layer": int(found.layer),
            "units": found.sae.label,
            "condition": found.condition,
            "n_units": len(found.chosen["latent"]),
            "n_all": units.n_units,
            "classes": list(names),
            "before": before[place].tolist(),
            "after": after[place].tolist(),
            "latents": _strongest(model, store, found, units, row, latents),
        }
    return json_text({"dataset": name, "concepts": concepts, "example": shown})


def _answers(
    model: ClipModel, images: StoreImages, found: PicturedSet, units: Latents, text: Tensor
) -> list[np.ndarray]:
    """Class probabilities [image, class] of the images, and without the chosen latents."""
    layer = int(found.layer)
    edit = LayerSet(layer, units, found.chosen["latent"])
    return [
        class_probabilities(embeddings_without(model, layer, images, sets), text, model.logit_scale)
        for sets in ((), [edit])
    ]


def _shown_image(before: np.ndarray, after: np.ndarray, here: Groups) -> int:
    """The image of the group that the attribute misleads most: the set is chosen to help it."""
    accuracy = pd.Series(before.argmax(1) == here.label).groupby(here.group).mean().sort_values()
    return example_image(before, after, here.label, here.group == accuracy.index[0])


def _strongest(
    model: ClipModel,
    store: ActivationStore,
    found: PicturedSet,
    units: Latents,
    row: int,
    n: int,
) -> list[dict]:
    """The `n` chosen latents that are most active on the image: {"unit", "values" [token]}."""
    every = np.arange(units.n_units)
    images = StoreImages(store, np.array([row]))
    rows = np.full(units.n_units, row)
    values = token_values(images, units, rows, every, device=model.device)  # [unit token]
    # Of a set that was chosen on CLS, the latents that CLS loses.
    tokens = values.T[:1] if found.tokens == "cls" else values.T
    strongest = strongest_units(tokens, found.chosen["latent"], n)
    return [{"unit": int(unit), "values": values[unit].tolist()} for unit in strongest]
