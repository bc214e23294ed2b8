"""Accuracy with only, and without, the strongest latents of each image's class.

PatchSAE §4.1.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from clip_sae.analyses.class_concepts.class_answers import (
    answer_with_classes,
    class_orders,
    size_grid,
)
from clip_sae.analyses.class_concepts.class_table import class_table
from clip_sae.analyses.shared.class_counts import read_class_counts
from clip_sae.analyses.shared.edits import reaches_output
from clip_sae.analyses.shared.models import class_names, load_model
from clip_sae.analyses.shared.store_images import StoreImages
from clip_sae.clip.zeroshot import class_embeddings
from clip_sae.datasets.manifest import read_manifest
from clip_sae.planning.inputs import ClipFiles, SaeFiles
from clip_sae.sae import Sae
from clip_sae.store import ActivationStore


def measure_class_concepts(
    job,
    *,
    clip: ClipFiles,
    index: Path,
    store: Path,
    sae: SaeFiles,
    counts: Path,
    templates: str | Sequence[str],
    sizes: Sequence[int | str],
    random_seeds: int,
    resamples: int,
    seed: int,
) -> pd.DataFrame:
    """Return accuracy per class, and its mean, for every edit, choice of latents and k."""
    model, names = load_model(job, clip), class_names(index)
    weights = Sae.load(sae.folder, model.device)
    images = StoreImages(
        ActivationStore(store),
        tokens=reaches_output(model, sae.layer),
        batch_images=job.batch("batch_images"),
    )
    answers = answer_with_classes(
        model,
        sae.layer,
        class_embeddings(model, names, templates),
        images,
        read_manifest(index)["label_idx"].to_numpy(),
        weights,
        class_orders(read_class_counts(counts), seeds=random_seeds, seed=seed),
        size_grid(sizes, weights.d_sae),
    )
    job.facts["clean_accuracy"] = float(answers.clean.mean())
    return class_table(answers, names, n_resamples=resamples, seed=seed)
