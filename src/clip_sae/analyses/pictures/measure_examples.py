"""Examples of answers: one image of a set, answered with and without the chosen latents.

Steering paper Fig. 1 (a set with a spurious attribute) and Fig. 3 (an image and its attacked twin).
An example shows an image whose answer the ablation changes, and is null for an empty set.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from torch import Tensor

from clip_sae.analyses.pictures.pictured import (
    PicturedSet,
    Saes,
    example_image,
    example_row,
    pictured,
    strongest_units,
    top_classes,
)
from clip_sae.analyses.shared.edited_embeddings import LayerSet, embeddings_without
from clip_sae.analyses.shared.edits import reaches_output
from clip_sae.analyses.shared.groups import Groups, read_groups
from clip_sae.analyses.shared.models import class_names, load_model, prompts
from clip_sae.analyses.shared.pairs import class_indices, read_rows
from clip_sae.analyses.shared.store_images import StoreImages
from clip_sae.analyses.shared.top_images import token_values
from clip_sae.analyses.shared.units import Latents
from clip_sae.clip.zeroshot import class_embeddings, logits
from clip_sae.datasets.manifest import pair_rows, read_classes, read_manifest
from clip_sae.planning.inputs import ClipFiles
from clip_sae.planning.specs import json_text
from clip_sae.sae import Sae
from clip_sae.store import ActivationStore

N_CLASSES = 5  # most probable classes that are printed next to an image
SIDES, TIMES = ("clean", "attacked"), ("before", "after")
Answers = dict[tuple[str, str], np.ndarray]  # {(side, time): probabilities [image, class]}


class _Opened:
    """The model, the store and the latents of a chosen set, as both kinds of example read them."""

    def __init__(
        self, job, clip: ClipFiles, found: PicturedSet, stores: Mapping[str, Path]
    ) -> None:
        self.found, self.layer = found, int(found.layer)
        self.model = load_model(job, clip)
        self.store = ActivationStore(stores[found.layer])
        self.units = Latents(Sae.load(found.sae.folder, self.model.device))
        self.chosen = found.chosen["latent"]

    def probabilities(self, embeddings: Tensor, text: Tensor) -> np.ndarray:
        """Return class probabilities [image, class] at the model's own temperature."""
        found = logits(embeddings.to(text.device), text, self.model.logit_scale)
        return found.double().softmax(-1).cpu().numpy()

    def facts(self) -> dict:
        """Return the facts of the chosen set that every example holds."""
        return {
            "layer": self.layer,
            "units": self.found.sae.label,
            "condition": self.found.condition,
            "n_units": len(self.chosen),
            "n_all": self.units.n_units,
        }


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
    """Return JSON: {"dataset", "concepts", "example"}; the example is null for an empty set.

    The example: row, path, true class and attribute of the image, the chosen set, probabilities of
    the classes before and after, and the values [token] of its strongest chosen latents.

    Args:
        chosen, gaps: as for `pictured`; stores: by layer.
        example: path of the image; None for the one that changes most.
        latents: number of latents; names: of the classes, None for those of the data set.
    """
    found, shown = pictured(chosen, gaps, saes), None
    if found is None:
        job.log.warning("%s: every chosen set is empty, so there is no example.", name)
    else:
        opened, manifest = _Opened(job, clip, found, stores), read_manifest(index)
        rows = np.asarray(opened.store.source_index)
        images = StoreImages(
            opened.store, rows if example is None else example_row(manifest, example, rows)
        )
        names = names or class_names(index)
        text = class_embeddings(opened.model, names, prompts(template))
        edit = LayerSet(opened.layer, opened.units, opened.chosen)
        before, after = (
            opened.probabilities(embeddings_without(opened.model, opened.layer, images, sets), text)
            for sets in ((), [edit])
        )
        here = read_groups(manifest, attribute).at(images.rows)
        position = _shown_image(before, after, here)
        row = int(images.rows[position])
        shown = {
            "row": row,
            "path": manifest.loc[row, "path"],
            "true": int(here.label[position]),
            "attribute": int(here.attribute[position]),
            **opened.facts(),
            "classes": list(names),
            "before": before[position].tolist(),
            "after": after[position].tolist(),
            "latents": _strongest(opened, row, latents),
        }
    return json_text({"dataset": name, "concepts": concepts, "example": shown})


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
    """Return JSON: {"dataset", "example"}; the example is null for an empty set.

    The example: rows and path of the pair, its true and its written class, the chosen set, and
    [name, probability] of the likeliest classes of both images, before and after.

    Args:
        chosen, gaps: as for `pictured`; stores: by layer.
        example: path of the attacked image; None for the pair that changes most.
    """
    found, shown = pictured(chosen, gaps, saes), None
    if found is None:
        job.log.warning("%s: the chosen set is empty, so there is no example.", name)
    else:
        opened = _Opened(job, clip, found, stores)
        manifest = read_manifest(index).loc[np.sort(np.asarray(opened.store.source_index))]
        pairs = pair_rows(manifest)
        if example is not None:
            rows = example_row(manifest, example, pairs["attacked"].to_numpy())
            pairs = pairs[pairs["attacked"].isin(rows)]
        label, word = class_indices(manifest.loc[pairs["attacked"]], read_classes(index))
        names = class_names(index)
        text = class_embeddings(opened.model, names, prompts(template))
        answers = _pair_answers(opened, pairs, text)
        position = _shown_pair(answers, label, word)
        shown = {
            "rows": {side: int(pairs[side].iloc[position]) for side in SIDES},
            "path": pairs["path"].iloc[position],
            "true": names[label[position]],
            "written": names[word[position]],
            **opened.facts(),
            "answers": {
                side: {
                    time: top_classes(answers[side, time][position], names, N_CLASSES)
                    for time in TIMES
                }
                for side in SIDES
            },
        }
    return json_text({"dataset": name, "example": shown})


def _pair_answers(opened: _Opened, pairs: pd.DataFrame, text: Tensor) -> Answers:
    """Return class probabilities of both sides of the pairs, before and after the ablation."""
    model, layer, answers = opened.model, opened.layer, {}
    tokens = reaches_output(model, layer)
    for side in SIDES:
        x = read_rows(opened.store, pairs[side].to_numpy(), tokens)
        sets = {"before": [], "after": [LayerSet(layer, opened.units, opened.chosen)]}
        for time in TIMES:
            embeddings = embeddings_without(model, layer, x, sets[time]).cpu()
            answers[side, time] = opened.probabilities(embeddings, text)
    return answers


def _shown_image(before: np.ndarray, after: np.ndarray, here: Groups) -> int:
    """Return an image of the group that the attribute misleads most, as the set should help it."""
    accuracy = pd.Series(before.argmax(1) == here.label).groupby(here.group).mean().sort_values()
    return example_image(before, after, here.label, here.group == accuracy.index[0])


def _shown_pair(answers: Answers, label: np.ndarray, word: np.ndarray) -> int:
    """Return a pair whose attack works well, and whose clean image is answered rightly."""
    pair = np.arange(len(word)), word
    known = answers["clean", "before"].argmax(1) == label
    allowed = known & (answers["attacked", "before"][pair] > 0.5)
    before, after = answers["attacked", "before"], answers["attacked", "after"]
    return example_image(before, after, label, allowed if allowed.any() else None)


def _strongest(opened: _Opened, row: int, n: int) -> list[dict]:
    """Return the `n` chosen latents most active on an image: {"unit", "values" [token]}."""
    every = np.arange(opened.units.n_units)
    images = StoreImages(opened.store, np.array([row]))
    rows = np.full(len(every), row)
    values = token_values(images, opened.units, rows, every, device=opened.model.device)
    # values: [unit token]. For a set chosen on CLS, the latents that CLS loses.
    tokens = values.T[:1] if opened.found.tokens == "cls" else values.T
    strongest = strongest_units(tokens, opened.chosen, n)
    return [{"unit": int(unit), "values": values[unit].tolist()} for unit in strongest]
