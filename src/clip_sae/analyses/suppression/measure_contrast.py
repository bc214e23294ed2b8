"""Group means of every latent and every neuron at one layer of one data set (Eq. 9)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from clip_sae.analyses.shared.contrast import write_contrasts
from clip_sae.analyses.shared.groups import Groups, read_groups
from clip_sae.analyses.shared.store_images import StoreImages
from clip_sae.analyses.shared.units import Latents, Neurons
from clip_sae.analyses.suppression.attribute_guess import guess_attribute, guess_quality
from clip_sae.analyses.suppression.contrast_pass import measure_contrasts
from clip_sae.datasets.manifest import read_manifest
from clip_sae.planning.inputs import SaeFiles
from clip_sae.sae import Sae
from clip_sae.store import ActivationStore


def measure_contrast(
    job,
    *,
    index: Path,
    store: Path,
    saes: Mapping[str, SaeFiles],
    guess: Mapping | None,
    attribute: str,
    tokens_read: str,
) -> None:
    """Write the contrasts {label: of its latents, "neurons"}, from the training store of a layer.

    Args:
        guess: what the attribute is guessed from instead of the labels: see `guessed_groups`.
    """
    device = job.torch_device()
    groups = read_groups(read_manifest(index), attribute)
    if guess is not None:
        groups, job.facts["guessed_right"] = guessed_groups(job, groups, **guess)
    images = StoreImages(
        ActivationStore(store), tokens=tokens_read, batch_images=job.batch("batch_images")
    )
    units = {label: Latents(Sae.load(sae.folder, device)) for label, sae in saes.items()}
    units["neurons"] = Neurons(images.store.d_model)
    write_contrasts(job.output.path, measure_contrasts(images, groups, units, device=device))
    job.facts["images"] = len(images)


@torch.inference_mode()
def guessed_groups(
    job, groups: Groups, *, clip, store: Path, tokens_read: str, prompts: Mapping
) -> tuple[Groups, float]:
    """Return groups whose attribute is guessed from prompts, and the share of right guesses.

    The label is set to 0 for all: without attribute labels, there is no group to balance.

    Args:
        store: of the last layer, training split; prompts: {"a", "not_a": texts}.
    """
    # It loads CLIP, which labels do without.
    from clip_sae.analyses.shared.models import load_model
    from clip_sae.analyses.suppression.inputs import last_layer_embeddings

    model = load_model(job, clip)
    embeddings, rows = last_layer_embeddings(model, store, tokens_read)
    sides = [model.embed_text(prompts[side]) for side in ("a", "not_a")]
    guessed = np.full(len(groups), -1, dtype=np.int64)
    guessed[rows] = guess_attribute(embeddings, *sides)
    right = guess_quality(guessed[rows], groups.attribute[rows])
    job.log.info("%.1f %% of the guessed attributes are right", 100 * right)
    return Groups(np.zeros_like(groups.label), guessed), right
