"""Load CLIP and the classes of a data set."""

from collections.abc import Sequence
from pathlib import Path

from clip_sae.clip.model import ClipModel, load_clip
from clip_sae.clip.zeroshot import NAMED_TEMPLATES
from clip_sae.datasets.manifest import read_classes
from clip_sae.planning.architecture import ModelSource
from clip_sae.planning.inputs import ClipFiles


def load_model(job, clip: ClipFiles, precision: str = "float32") -> ClipModel:
    """Return the CLIP on the job's device.

    Analyses run it in float32: the smallest differences of Table 3 are 0.003 nats.
    """
    source = ModelSource(clip.model, clip.pretrained)
    return load_clip(source, device=job.device, precision=precision)


def class_names(index: Path) -> list[str]:
    """Return the prompt names of a data set's classes, by class index."""
    return read_classes(index)["name"].tolist()


def prompts(template: str | Sequence[str]) -> str | Sequence[str]:
    """Return a template of the config as `zeroshot` takes it: one text becomes a list of one."""
    plain = isinstance(template, str) and template not in NAMED_TEMPLATES
    return [template] if plain else template
