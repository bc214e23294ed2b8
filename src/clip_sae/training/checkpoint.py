"""Files of a training: checkpoints while it runs, curve and SAE when it ends.

Steering paper App. 10. A folder is finished when cfg.json carries the target's digest and the
weights have the recorded sha256; anything else is resumed or redone.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors

from clip_sae.planning.recipes import SaeRecipe
from clip_sae.planning.specs import digest, write_bytes
from clip_sae.planning.versions import TRAIN_VERSION
from clip_sae.sae import SaeFileError, weights_sha256
from clip_sae.sae.files import CONFIG_NAME, read_config
from clip_sae.training.learner import Learner

CURVE_COLUMNS = (
    "step",
    "tokens",
    "loss",
    "reconstruction_loss",
    "sparsity_loss",
    "aux_loss",
    "l0",
    "explained_variance",
    "dead_latents",
    "revived_latents",
    "lr",
    "grad_norm",
)


@dataclass(frozen=True)
class TrainTarget:
    """One SAE to train: its recipe, its folder, and facts for cfg.json (JSON values only).

    `metadata` must name what the tokens are (store, fingerprints): it is part of the digest by
    which a finished or half-trained SAE is recognised.
    """

    variant: str
    recipe: SaeRecipe
    folder: Path
    metadata: dict = field(default_factory=dict)

    def digest(self, d_model: int) -> str:
        """Return the hash of all that decides the weights, training version included."""
        recipe = self.recipe.to_dict()
        return digest(
            {
                "recipe": recipe,
                "d_model": d_model,
                "version": TRAIN_VERSION,
                "metadata": self.metadata,
            }
        )


def is_finished(target: TrainTarget, d_model: int) -> bool:
    """Return True if the target's folder holds exactly this SAE, complete and undamaged."""
    try:
        facts = read_config(Path(target.folder))["metadata"]["clip_sae"]
        same = facts["training"]["digest"] == target.digest(d_model)
        return same and facts["weights_sha256"] == weights_sha256(Path(target.folder))
    except (OSError, SaeFileError, KeyError, TypeError):
        return False


def clear_unfinished(target: TrainTarget) -> None:
    """Remove a cfg.json that belongs to another training, so the folder reads as unfinished."""
    Path(target.folder).mkdir(parents=True, exist_ok=True)
    (Path(target.folder) / CONFIG_NAME).unlink(missing_ok=True)


def save_checkpoint(target: TrainTarget, learner: Learner, curve: list[dict], key: str) -> None:
    """Write the learner's state and curve as one file, whole or not at all."""
    state = {name: tensor.cpu().contiguous() for name, tensor in learner.state().items()}
    header = {"key": key, "curve": json.dumps(curve)}
    header["sha256"] = _checksum(header, state)  # safetensors has none of its own
    write_bytes(_checkpoint_path(target), save_tensors(state, metadata=header))
    write_curve(target, curve)


def load_checkpoint(
    target: TrainTarget, key: str
) -> tuple[dict[str, torch.Tensor], list[dict]] | None:
    """Return (state, curve) of a checkpoint made under the same key, or None."""
    path = _checkpoint_path(target)
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError):
        return None  # a damaged checkpoint costs the steps since the start, never a wrong SAE
    whole = header.pop("sha256", None) == _checksum(header, state)
    if not whole or header.get("key") != key:
        return None
    return state, json.loads(header["curve"])


def _checksum(header: dict[str, str], state: dict[str, torch.Tensor]) -> str:
    """sha256, in hex, of a checkpoint's text and of every tensor's name and bytes."""
    found = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(state):
        found.update(f"{name} {state[name].dtype} {tuple(state[name].shape)}\n".encode())
        found.update(state[name].reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()


def finish(target: TrainTarget, learner: Learner, curve: list[dict], d_model: int) -> None:
    """Write curve.csv and the SAE folder (cfg.json last), then drop the checkpoint."""
    recipe = target.recipe
    write_curve(target, curve)
    facts = {
        **target.metadata,
        "training": {
            "variant": target.variant,
            "recipe": recipe.to_dict(),
            "version": TRAIN_VERSION,
            "digest": target.digest(d_model),
            "final": {name: _finite(value) for name, value in curve[-1].items()},
        },
    }
    sae = learner.method.to_sae(learner.weights, recipe.input_norm)
    sae.save(target.folder, facts)
    drop_checkpoint(target)


def drop_checkpoint(target: TrainTarget) -> None:
    """Remove a checkpoint, three times as large as the weights."""
    shutil.rmtree(_checkpoint_path(target).parent, ignore_errors=True)


def write_curve(target: TrainTarget, curve: list[dict]) -> None:
    """Write curve.csv: one row per measured step, losses as they were before the step."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CURVE_COLUMNS)
    for row in curve:
        writer.writerow([_plain(row[column]) for column in CURVE_COLUMNS])
    write_bytes(Path(target.folder) / "curve.csv", text.getvalue().encode())


def _finite(value: float) -> float | None:
    """Return a number, or None for NaN and infinity, which JSON lacks."""
    return value if math.isfinite(value) else None


def _plain(value: float | int) -> str:
    return f"{value:.9g}" if isinstance(value, float) else str(value)


def _checkpoint_path(target: TrainTarget) -> Path:
    return Path(target.folder) / "checkpoint" / "state.safetensors"
