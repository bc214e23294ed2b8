"""What the adapters of the adaptation have in common: models, images and classes."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from _job import Job

from clip_sae.adaptation import AdaptedClip
from clip_sae.architecture import ModelSource
from clip_sae.clip import ClipModel, load_clip
from clip_sae.datasets import decode_image, read_classes, read_manifest


def load_model(job: Job) -> ClipModel:
    """The frozen CLIP of the job's arguments, in float32."""
    block = job.arguments["model"]
    source = ModelSource(block["model"], block["pretrained"])
    return load_clip(source, device=job.device, precision="float32")


def load_adapted(model: ClipModel, method: Mapping) -> dict[int, AdaptedClip]:
    """{seed: model} of a method, as `AdaptationPlan.adapted` names it."""
    if method["kind"] == "none":
        return {0: AdaptedClip.frozen(model, method["template"])}
    if method["kind"] == "checkpoint":
        source = ModelSource(**method["source"])
        return {0: AdaptedClip.of_checkpoint(model, source, method["template"])}
    return {int(seed): AdaptedClip.load(model, path) for seed, path in method["seeds"].items()}


def class_names(index: str) -> list[str]:
    """Prompt names of a set's classes."""
    return read_classes(Path(index))["name"].tolist()


def usable(index: str, split: str) -> pd.DataFrame:
    """The manifest's rows of a split that can be read."""
    manifest = read_manifest(Path(index), split)
    return manifest[manifest["status"] == "ok"]


def pixels_of(rows: pd.DataFrame, root: str, decoding: Mapping) -> np.ndarray:
    """Bytes [image, height, width, channel] of rows of a manifest."""
    return np.stack(
        [
            decode_image(
                Path(root) / row.path, operation=row.operation, parameter=row.parameter, **decoding
            )
            for row in rows.itertuples()
        ]
    )
