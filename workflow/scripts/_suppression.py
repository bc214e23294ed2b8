"""What the adapters of suppression have in common: the model, its class texts, guessed groups."""

from pathlib import Path

import numpy as np
import torch
from _job import Job
from torch import Tensor

from clip_sae.analyses.suppression.attribute_guess import guess_attribute, guess_quality
from clip_sae.analyses.suppression.embeddings import embeddings_without
from clip_sae.analyses.suppression.groups import Groups
from clip_sae.analyses.suppression.images import StoreImages
from clip_sae.architecture import ModelSource
from clip_sae.clip import ClipModel, load_clip
from clip_sae.datasets import read_classes
from clip_sae.store import ActivationStore
from clip_sae.zeroshot import class_embeddings


def load_model(job: Job) -> ClipModel:
    """The CLIP of the job's arguments, in float32: effects are a handful of images."""
    block = job.arguments["model"]
    source = ModelSource(block["model"], block["pretrained"])
    return load_clip(source, device=job.device, precision="float32")


def class_texts(
    model: ClipModel, index: str, template: str, names: list[str] | None = None
) -> Tensor:
    """Unit texts [class, d_embed] of a set's two classes in one template."""
    names = names or read_classes(Path(index))["name"].tolist()
    named = template in ("none", "openai80")
    return class_embeddings(model, names, template if named else [template])


def last_layer_embeddings(
    model: ClipModel, store: str, tokens: str, rows: np.ndarray | None = None
) -> tuple[Tensor, np.ndarray]:
    """Clean embeddings [image, d_embed] from the last layer's store, and their manifest rows."""
    images = StoreImages(ActivationStore(Path(store)), rows, tokens=tokens, batch_images=256)
    last = model.architecture.n_layers - 1
    return embeddings_without(model, last, images), images.rows


@torch.inference_mode()
def guessed_groups(job: Job, groups: Groups) -> tuple[Groups, float]:
    """Groups whose attribute is guessed from prompts, and the share of right guesses.

    The label is set to 0 for all: without attribute labels, there is no group to balance.
    """
    arguments, model = job.arguments, load_model(job)
    embeddings, rows = last_layer_embeddings(
        model, arguments["last_store"], arguments["last_tokens_read"]
    )
    sides = [model.embed_text(arguments["background"][side]) for side in ("a", "not_a")]
    guessed = np.full(len(groups), -1, dtype=np.int64)
    guessed[rows] = guess_attribute(embeddings, *sides)
    right = guess_quality(guessed[rows], groups.attribute[rows])
    job.log.info("%.1f %% of the guessed attributes are right", 100 * right)
    return Groups(np.zeros_like(groups.label), guessed), right
