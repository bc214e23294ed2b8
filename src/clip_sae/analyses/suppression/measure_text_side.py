"""Text-side baselines of every data set that has background prompts."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from clip_sae.analyses.shared.groups import (
    Groups,
    balanced_rows,
    read_groups,
    train_counts,
)
from clip_sae.analyses.shared.models import load_model
from clip_sae.analyses.suppression.inputs import class_texts, last_layer_embeddings
from clip_sae.analyses.suppression.prompts import Embedded, text_table
from clip_sae.analyses.suppression.text_side import SpuriousTexts
from clip_sae.clip.model import ClipModel
from clip_sae.datasets.manifest import read_manifest
from clip_sae.planning.inputs import ClipFiles
from clip_sae.store import ActivationStore

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
        sets: {data set: index, stores {"val", "test"} of the last layer, and its block's
            attribute, images, template, names and background}.
    """
    model, tables = load_model(job, clip), []
    for name, place in sets.items():
        manifest = read_manifest(place["index"])
        groups = read_groups(manifest, place["attribute"])
        balance = seed if place["images"] == "balanced" else None
        val, test = (
            _embedded(model, place["stores"][split], tokens_read, groups, balance)
            for split in ("val", "test")
        )
        table = text_table(
            val,
            test,
            class_texts(model, place["index"], place["template"], place["names"]).cpu(),
            _spurious(model, place["background"]),
            train_counts(manifest, groups),
            WEIGHTS,
            n_resamples=resamples,
            seed=seed,
        )
        table.insert(0, "dataset", name)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _embedded(
    model: ClipModel, store: Path, tokens: str, groups: Groups, balance_seed: int | None
) -> Embedded:
    """Return the clean embeddings of a split; with a seed, of as many images of each group."""
    rows = np.asarray(ActivationStore(store).source_index)
    if balance_seed is not None:
        rows = balanced_rows(groups, rows, balance_seed)
    embeddings, rows = last_layer_embeddings(model, store, tokens, rows)
    return Embedded(embeddings.cpu(), groups.at(rows))


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
