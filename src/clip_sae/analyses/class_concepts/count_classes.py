"""Counts of each latent's clear activations on each class of the training split.

A separate module, so that a change of the accuracies' code does not repeat the count.
"""

from pathlib import Path

from clip_sae.analyses.shared.class_counts import class_activation, write_class_counts
from clip_sae.analyses.shared.models import class_names
from clip_sae.analyses.shared.store_images import StoreImages
from clip_sae.datasets.manifest import read_manifest
from clip_sae.planning.inputs import SaeFiles
from clip_sae.sae import Sae
from clip_sae.store import ActivationStore


def count_classes(job, *, index: Path, store: Path, sae: SaeFiles, threshold: float) -> None:
    """Write the counts [class, latent] as one .npz (`shared.class_counts`)."""
    device = job.torch_device()
    images = StoreImages(ActivationStore(store), batch_images=job.batch("batch_images"))
    found = class_activation(
        images,
        read_manifest(index)["label_idx"].to_numpy(),
        Sae.load(sae.folder, device),
        len(class_names(index)),
        threshold=threshold,
        device=device,
    )
    write_class_counts(job.output.path, found)
    job.facts |= {"images": len(images), "alive_latents": int(found.alive.sum())}
