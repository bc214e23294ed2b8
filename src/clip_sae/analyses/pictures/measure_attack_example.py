"""Fig. 3: an image and its attacked twin, with the most probable classes before and after."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from torch import Tensor

from clip_sae.analyses.pictures.chosen import example_image, example_row, top_classes
from clip_sae.analyses.pictures.pictured import (
    PicturedSet,
    Saes,
    class_probabilities,
    pictured,
)
from clip_sae.analyses.shared.models import class_names, load_model, prompts
from clip_sae.analyses.shared.nested_embeddings import (
    ablated_embeddings,
    clean_embeddings,
    tokens_that_matter,
)
from clip_sae.analyses.shared.pairs import class_indices, read_rows
from clip_sae.analyses.shared.units import Latents
from clip_sae.clip.model import ClipModel
from clip_sae.clip.zeroshot import class_embeddings
from clip_sae.datasets.manifest import pair_rows, read_classes, read_manifest
from clip_sae.planning.inputs import ClipFiles
from clip_sae.planning.specs import json_text
from clip_sae.sae import Sae
from clip_sae.store import ActivationStore

N_CLASSES = 5  # most probable classes that are printed next to an image
SIDES, TIMES = ("clean", "attacked"), ("before", "after")
Answers = dict[tuple[str, str], np.ndarray]  # {(side, time): probabilities [image, class]}


def measure_attack_example(
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
    template: str | Sequence[str],
) -> str:
    """Return JSON: {"dataset", "example"}, the example null where nothing was chosen.

    The example: rows and path of the pair, its true and its written class, the chosen set, and
    [name, probability] of the likeliest classes of both images, before and after.

    Args:
        chosen, gaps: as of `pictured`; stores: by layer.
        example: path of the attacked image; None for the pair that shows most.
    """
    found, shown = pictured(chosen, gaps, saes), None
    if found is None:
        job.log.warning("%s: the chosen set is empty, so there is no example.", name)
    else:
        model, store = load_model(job, clip), ActivationStore(stores[found.layer])
        manifest = read_manifest(index).loc[np.sort(np.asarray(store.source_index))]
        pairs = pair_rows(manifest)
        if example is not None:
            rows = example_row(manifest, example, pairs["attacked"].to_numpy())
            pairs = pairs[pairs["attacked"].isin(rows)]
        label, word = class_indices(manifest.loc[pairs["attacked"]], read_classes(index))
        names = class_names(index)
        text = class_embeddings(model, names, prompts(template))
        units = Latents(Sae.load(found.sae.folder, model.device))
        answers = _answers(model, store, pairs, found, units, text)
        place = _shown_pair(answers, label, word)
        shown = {
            "rows": {side: int(pairs[side].iloc[place]) for side in SIDES},
            "path": pairs["path"].iloc[place],
            "true": names[label[place]],
            "written": names[word[place]],
            "layer": int(found.layer),
            "units": found.sae.label,
            "condition": found.condition,
            "n_units": len(found.chosen["latent"]),
            "n_all": units.n_units,
            "answers": {
                side: {
                    time: top_classes(answers[side, time][place], names, N_CLASSES)
                    for time in TIMES
                }
                for side in SIDES
            },
        }
    return json_text({"dataset": name, "example": shown})


def _answers(
    model: ClipModel,
    store: ActivationStore,
    pairs: pd.DataFrame,
    found: PicturedSet,
    units: Latents,
    text: Tensor,
) -> Answers:
    """Class probabilities of both sides of the pairs, before and after the ablation."""
    layer, answers = int(found.layer), {}
    tokens = tokens_that_matter(model, layer)
    for side in SIDES:
        x = read_rows(store, pairs[side].to_numpy(), tokens)
        embeddings = {
            "before": clean_embeddings(model, x, layer),
            "after": ablated_embeddings(model, x, layer, units, found.chosen["latent"]),
        }
        for time in TIMES:
            answers[side, time] = class_probabilities(embeddings[time], text, model.logit_scale)
    return answers


def _shown_pair(answers: Answers, label: np.ndarray, word: np.ndarray) -> int:
    """A pair with an attack that works well, on an image that is known without it."""
    pair = np.arange(len(word)), word
    known = answers["clean", "before"].argmax(1) == label
    allowed = known & (answers["attacked", "before"][pair] > 0.5)
    before, after = answers["attacked", "before"], answers["attacked", "after"]
    return example_image(before, after, label, allowed if allowed.any() else None)
