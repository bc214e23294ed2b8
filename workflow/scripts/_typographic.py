"""What the adapters of the typographic analysis have in common: the model, texts, units, pairs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from _job import Job
from torch import Tensor

from clip_sae.analyses.suppression.ablation import Latents, Neurons, Units
from clip_sae.analyses.typographic.ablation import tokens_that_matter
from clip_sae.analyses.typographic.images import PairedImages, read_pairs
from clip_sae.architecture import ModelSource
from clip_sae.clip import ClipModel, load_clip
from clip_sae.datasets import read_classes, read_manifest
from clip_sae.sae import Sae
from clip_sae.store import ActivationStore
from clip_sae.typographic_plan import NEURONS
from clip_sae.zeroshot import NAMED_TEMPLATES


def load_model(job: Job) -> ClipModel:
    """The CLIP of the job's arguments, in float32."""
    block = job.arguments["model"]
    source = ModelSource(block["model"], block["pretrained"])
    return load_clip(source, device=job.device, precision="float32")


def prompts(template: str | Sequence[str]) -> str | Sequence[str]:
    """A template of the config as `zeroshot` takes it: one text is a list of one."""
    plain = isinstance(template, str) and template not in NAMED_TEMPLATES
    return [template] if plain else template


def class_names(index: str) -> list[str]:
    """Prompt names of a set's classes."""
    return read_classes(Path(index))["name"].tolist()


def pairs_of(job: Job, model: ClipModel, split: str) -> PairedImages:
    """The pairs of one split of the attacked copy."""
    arguments, index = job.arguments, Path(job.arguments["pairs_index"])
    tokens = tokens_that_matter(model, arguments["layer"])
    store = ActivationStore(Path(arguments["pairs_stores"][split]))
    return read_pairs(store, read_manifest(index, split), read_classes(index), tokens)


def units_of(label: str, saes: dict[str, str], model: ClipModel) -> tuple[Units, np.ndarray]:
    """The units that a label names, and their unit directions [unit, d_model].

    Args:
        saes: {label: folder}.
    """
    if label == NEURONS:
        width = model.architecture.d_model
        return Neurons(width), np.eye(width, dtype=np.float32)
    sae = Sae.load(Path(saes[label]), model.device)
    rows: Tensor = sae.W_dec / sae.W_dec.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    return Latents(sae), rows.cpu().numpy()


def chosen_units(choice: dict[str, str], kind: str) -> tuple[str, np.ndarray]:
    """(label, unit indices) of the set chosen of a kind: "latents" or "neurons".

    Args:
        choice: paths of the tables of the choice.
    """
    table, units = (pd.read_csv(choice[name]) for name in ("choice", "units"))
    [label] = table.loc[table["chosen"] & (table["kind"] == kind), "label"]
    return label, np.sort(units.loc[units["kind"] == kind, "unit"].to_numpy(dtype=np.int64))


def file_name(label: str) -> str:
    """A label as part of a file's name."""
    return label.replace("/", "_")
