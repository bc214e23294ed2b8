"""Load adapted CLIPs, and the rows of images that can be read. PatchSAE §5."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from clip_sae.adaptation import AdaptedClip
from clip_sae.clip.model import ClipModel
from clip_sae.datasets.manifest import read_manifest
from clip_sae.planning.architecture import ModelSource
from clip_sae.planning.inputs import ClipFiles


def load_adapted(model: ClipModel, adapted: Mapping) -> dict[int, AdaptedClip]:
    """Return {seed: adapted model} of one method.

    Args:
        model: the frozen CLIP.
        adapted: {"template", "seeds": {seed: file of prompts, weights of a fine-tuned checkpoint,
            or None for the frozen model}}, as `analyses.adaptation.plan` declares it.
    """
    template = adapted["template"]
    return {int(seed): _load(model, template, own) for seed, own in adapted["seeds"].items()}


def _load(model: ClipModel, template: str, weights: Path | ClipFiles | None) -> AdaptedClip:
    if weights is None:
        return AdaptedClip.frozen(model, template)
    if isinstance(weights, ClipFiles):
        source = ModelSource(weights.model, weights.pretrained)
        return AdaptedClip.of_checkpoint(model, source, template)
    return AdaptedClip.load(model, weights)


def usable_rows(index: Path, split: str) -> pd.DataFrame:
    """Return the manifest's rows of a split whose images can be read."""
    manifest = read_manifest(index, split)
    return manifest[manifest["status"] == "ok"]
