"""Text-side baselines of every data set that has background prompts, tested next to each other."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from clip_sae.analyses.shared.edited_embeddings import embeddings_without
from clip_sae.analyses.shared.models import load_model
from clip_sae.analyses.suppression.grouped_set import Embedded, GroupedSet
from clip_sae.analyses.suppression.set_summary import compare
from clip_sae.analyses.suppression.text_side import SpuriousTexts, methods
from clip_sae.clip.model import ClipModel
from clip_sae.planning.inputs import ClipFiles

WEIGHTS = (1.0, 10.0, 100.0, 1e3, 1e4)  # of calibration; Chuang et al. write 1,000


def measure_text_side(
    job,
    *,
    clip: ClipFiles,
    sets: Mapping[str, Mapping],
    tokens_read: str,
    resamples: int,
    seed: int,
) -> pd.DataFrame:
    """Return the rows of `text_table` of all data sets, with the column dataset.

    Args:
        sets: {data set: index, stores {"val", "test"} of the last layer, and its section's
            attribute, images, template, names and background}.
    """
    model, tables = load_model(job, clip), []
    for name, entry in sets.items():
        own = GroupedSet(entry["index"], entry["attribute"], entry["images"], seed)
        val, test = (
            _embedded(model, own, entry["stores"][split], tokens_read) for split in ("val", "test")
        )
        table = text_table(
            val,
            test,
            own.texts(model, entry["template"], entry["names"]).cpu(),
            _spurious(model, entry["background"]),
            own.train,
            WEIGHTS,
            n_resamples=resamples,
            seed=seed,
        )
        table.insert(0, "dataset", name)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def text_table(
    val: Embedded,
    test: Embedded,
    text: Tensor,
    spurious: SpuriousTexts,
    train: np.ndarray,
    weights: Sequence[float],
    **options: int,
) -> pd.DataFrame:
    """Return a row per text-side baseline, its weight chosen on validation, tested once.

    Of the weights of calibration, the one with the highest worst-group, then overall accuracy on
    validation, then the smaller. Columns: method, weight (NaN for none), val_overall, val_worst,
    and those of `compare` on test, against the texts as they are.

    Args:
        text: unit class texts [class, d_embed].
        train: [group] training images; options: of `compare`.
    """
    found = {"val": {}, "test": {}}
    for split, part in (("val", val), ("test", test)):
        for key, predicted in methods(part.images, text, spurious, weights).items():
            found[split][key] = part.right(predicted)
    rows = []
    for name in dict.fromkeys(method for method, _ in found["val"]):
        scores = {
            weight: _scores(right, val.groups.group)
            for (method, weight), right in found["val"].items()
            if method == name
        }
        weight = max(scores, key=lambda w: (*scores[w], -(w or 0.0)))
        worst, overall = scores[weight]
        about = {"method": name, "weight": weight, "val_overall": overall, "val_worst": worst}
        right = found["test"]["none", None], found["test"][name, weight]
        rows.append({**about, **compare(*right, test.groups.group, train, **options)})
    return pd.DataFrame(rows).astype({"weight": float})


def _scores(right: np.ndarray, group: np.ndarray) -> tuple[float, float]:
    """Return worst-group and overall accuracy."""
    return min(right[group == g].mean() for g in np.unique(group)), right.mean()


def _embedded(model: ClipModel, own: GroupedSet, store, tokens: str) -> Embedded:
    """Return the clean embeddings of a split, from the residuals of the last layer."""
    images = own.images(store, tokens=tokens, batch_images=256)
    embeddings = embeddings_without(model, model.architecture.n_layers - 1, images)
    return Embedded(embeddings.cpu(), own.groups.at(images.rows))


def _spurious(model: ClipModel, background: Mapping) -> SpuriousTexts:
    return SpuriousTexts(
        model.embed_text([*background["a"], *background["not_a"]]).cpu(),
        _pairs(model, background["pairs"]),
        _pairs(model, background["helpful"]),
    )


def _pairs(model: ClipModel, texts: Sequence[Sequence[str]]) -> Tensor:
    """Return [pair, 2, d_embed]; may hold no pair."""
    if not texts:
        return torch.empty(0, 2, model.architecture.d_embed)
    return model.embed_text([text for pair in texts for text in pair]).unflatten(0, (-1, 2)).cpu()
