"""Every set of latents and neurons of one layer of one data set, ablated."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from clip_sae.analyses.shared.blocks import Blocks
from clip_sae.analyses.shared.contrast import read_contrasts
from clip_sae.analyses.shared.groups import (
    Groups,
    balanced_rows,
    read_groups,
    train_counts,
)
from clip_sae.analyses.shared.models import load_model
from clip_sae.analyses.shared.store_images import StoreImages
from clip_sae.analyses.shared.unit_sets import threshold_grid
from clip_sae.analyses.suppression.bits import write_bits
from clip_sae.analyses.suppression.evaluation import Settings
from clip_sae.analyses.suppression.inputs import class_texts
from clip_sae.analyses.suppression.layer import Layer, evaluate_layer, evaluate_part
from clip_sae.datasets.manifest import read_manifest
from clip_sae.files import write_output
from clip_sae.planning.inputs import ClipFiles, SaeFiles
from clip_sae.planning.scatter import share
from clip_sae.sae import Sae
from clip_sae.store import ActivationStore


def evaluate_suppression(
    job,
    *,
    clip: ClipFiles,
    index: Path,
    stores: Mapping[str, Path],
    contrast: Path,
    saes: Mapping[str, SaeFiles],
    dataset: str,
    case: str,
    layer: int,
    attribute: str,
    images: str,
    template: str,
    names: Sequence[str] | None,
    tokens_read: str,
    thresholds: Mapping,
    settings: Mapping,
    seed: int,
) -> None:
    """Write rows.csv, chosen.csv and bits.npz, or some kinds of units as blocks.

    Args:
        stores: {"val", "test": residuals of `layer`}; contrast: file of its contrasts.
        images: "full" or "balanced", which images are evaluated.
        thresholds: arguments of `threshold_grid`; settings: fields of `Settings`.
    """
    manifest = read_manifest(index)
    groups = read_groups(manifest, attribute)
    reading = {"tokens": tokens_read, "batch_images": job.batch("batch_images")}
    model = load_model(job, clip)
    place = Layer(
        model,
        layer,
        class_texts(model, index, template, names),
        _splits(stores, groups, seed if images == "balanced" else None, reading),
        groups,
        {label: Sae.load(sae.folder, job.torch_device()) for label, sae in saes.items()},
        read_contrasts(contrast),
        train_counts(manifest, groups),
    )
    what = Settings(taus=tuple(threshold_grid(**thresholds)), seed=seed, **settings)
    blocks = Blocks(job.folder / "blocks", job.identity())
    if job.part:
        mine = share(len(place.kinds), job.part)
        evaluate_part(place, what, blocks, mine)
        job.facts["kinds"] = [place.kinds[k] for k in mine]
        return
    rows, chosen, bits = evaluate_layer(place, what, blocks=blocks)
    rows.insert(0, "case", case)
    rows.insert(0, "dataset", dataset)
    job.facts |= write_output(job.folder / "rows.csv", rows)
    write_output(job.folder / "chosen.csv", chosen)
    write_bits(job.folder / "bits.npz", bits)
    job.discard_later(blocks.folder)


def _splits(
    stores: Mapping[str, Path], groups: Groups, balance_seed: int | None, reading: Mapping
) -> dict[str, StoreImages]:
    """Return the images of each split; with a seed a balanced choice, and all of test as well."""
    splits = {}
    for split, path in stores.items():
        store, rows = ActivationStore(path), None
        if balance_seed is not None:
            rows = balanced_rows(groups, np.asarray(store.source_index), balance_seed)
            if split == "test":
                splits["test_full"] = StoreImages(store, **reading)
        splits[split] = StoreImages(store, rows, **reading)
    return splits
