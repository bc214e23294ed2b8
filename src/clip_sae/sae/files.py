"""The SAE folder on disk: SAELens' cfg.json and sae_weights.safetensors.

Not in the papers; the layout is that of SAELens 6, so its users load these SAEs without us.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from clip_sae.planning.specs import file_sha256, write_bytes

CONFIG_NAME = "cfg.json"
WEIGHTS_NAME = "sae_weights.safetensors"
SAELENS_FORMAT = "6.54.12"  # the release whose files this layout was checked against
# SAELens' word for reading an SAE -> ours
ARCHITECTURES = {"standard": "vanilla", "topk": "topk", "jumprelu": "jumprelu"}
INPUT_NORMS = ("none", "layer_norm", "constant_norm_rescale")  # SAELens' normalize_activations


class SaeFileError(ValueError):
    """An SAE folder that is damaged, incomplete or of an unknown kind."""


@dataclass(frozen=True)
class LoadedSae:
    """Content of one folder: sizes, architecture, tensors by name, and our metadata.

    `training_architecture` is how the SAE was trained, in SAELens' words.
    """

    d_model: int
    d_sae: int
    architecture: str
    training_architecture: str
    k: int | None
    input_norm: str
    tensors: dict[str, torch.Tensor]
    metadata: dict


def weights_sha256(folder: Path) -> str:
    """Return the sha256 of the folder's weights file."""
    return file_sha256(Path(folder) / WEIGHTS_NAME)


def save_folder(
    folder: Path,
    tensors: dict[str, torch.Tensor],
    *,
    architecture: str,
    training_architecture: str,
    input_norm: str,
    extra: dict,
    metadata: dict,
) -> None:
    """Write the weights, then cfg.json; both architectures are SAELens' words, `extra` its own
    keys."""
    folder.mkdir(parents=True, exist_ok=True)
    # A folder must never pair a finished-looking cfg.json with other weights.
    (folder / CONFIG_NAME).unlink(missing_ok=True)
    plain = {name: tensor.cpu().float().contiguous() for name, tensor in tensors.items()}
    weights = save_tensors(plain)
    d_model, d_sae = plain["W_enc"].shape
    config = {
        "architecture": architecture,
        "d_in": d_model,
        "d_sae": d_sae,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": input_norm,
        "reshape_activations": "none",
        **extra,
        "metadata": {
            "sae_lens_version": SAELENS_FORMAT,
            "training_architecture": training_architecture,
            "clip_sae": {**metadata, "weights_sha256": hashlib.sha256(weights).hexdigest()},
        },
    }
    write_bytes(folder / WEIGHTS_NAME, weights)
    write_bytes(folder / CONFIG_NAME, (json.dumps(config, indent=2) + "\n").encode())


def load_folder(folder: Path) -> LoadedSae:
    """Read and check one SAE folder; see `Sae.load` for the errors."""
    config = read_config(folder)
    all_metadata = config.get("metadata", {})
    metadata = all_metadata.get("clip_sae", {})
    tensors = _read_weights(folder, metadata.get("weights_sha256"))
    path = folder / CONFIG_NAME
    word = _need(config, "architecture", path)
    if word not in ARCHITECTURES:
        raise SaeFileError(
            f"{path}: architecture is {word!r}; this project reads "
            f"{', '.join(ARCHITECTURES)}. Convert it: python -m clip_sae convert {folder} DEST"
        )
    d_model, d_sae = int(_need(config, "d_in", path)), int(_need(config, "d_sae", path))
    k = int(_need(config, "k", path)) if word == "topk" else None
    _check_shapes(folder, tensors, word, d_model, d_sae)
    _check_conventions(path, config, tensors)
    norm = config.get("normalize_activations", "none")
    trained = all_metadata.get("training_architecture", word)
    return LoadedSae(d_model, d_sae, ARCHITECTURES[word], trained, k, norm, tensors, metadata)


def read_config(folder: Path) -> dict:
    """Return cfg.json of an SAE folder."""
    path = folder / CONFIG_NAME
    if not path.is_file():
        found = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else "no such folder"
        raise FileNotFoundError(
            f"{path} is missing (found: {found}). cfg.json is written last: the SAE's training "
            f"has not finished, or this is not an SAE folder. Run snakemake again."
        )
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise SaeFileError(f"{path} is not JSON ({error}). Delete it and run snakemake.") from error


def _read_weights(folder: Path, expected_sha256: str | None) -> dict[str, torch.Tensor]:
    path = folder / WEIGHTS_NAME
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing, though cfg.json exists. Delete the folder and run snakemake."
        )
    content = path.read_bytes()
    try:
        tensors = load_tensors(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise SaeFileError(
            f"{path} is truncated or damaged ({len(content)} bytes: {error}). "
            f"Delete the folder and run snakemake."
        ) from error
    if expected_sha256 not in (None, hashlib.sha256(content).hexdigest()):
        raise SaeFileError(
            f"{path} is not the file that cfg.json describes (sha256 differs). "
            f"Delete the folder and run snakemake."
        )
    return {name: tensor.float() for name, tensor in tensors.items()}


def _check_shapes(
    folder: Path, tensors: dict[str, torch.Tensor], word: str, d_model: int, d_sae: int
) -> None:
    expected = {
        "W_enc": (d_model, d_sae),
        "b_enc": (d_sae,),
        "W_dec": (d_sae, d_model),
        "b_dec": (d_model,),
    }
    if word == "jumprelu":
        expected["threshold"] = (d_sae,)
    path = folder / WEIGHTS_NAME
    if set(tensors) != set(expected):
        raise SaeFileError(f"{path} holds {sorted(tensors)}; expected exactly {sorted(expected)}.")
    for name, shape in expected.items():
        if tuple(tensors[name].shape) != shape:
            raise SaeFileError(
                f"{path}: {name} has shape {tuple(tensors[name].shape)}, but cfg.json's d_in and "
                f"d_sae say {shape}."
            )


def _check_conventions(path: Path, config: dict, tensors: dict[str, torch.Tensor]) -> None:
    """Refuse SAELens options under which the same weights would mean another function."""
    norm = config.get("normalize_activations", "none")
    command = f"python -m clip_sae convert {path.parent} DEST"
    if norm not in INPUT_NORMS:
        raise SaeFileError(
            f"{path}: normalize_activations is {norm!r}; known: {', '.join(INPUT_NORMS)}. "
            f"Fold the scale into the weights: {command}"
        )
    if config.get("apply_b_dec_to_input", True) is not True:
        raise SaeFileError(
            f"{path}: apply_b_dec_to_input is false; this project subtracts b_dec before the "
            f"encoder. Fold it: {command}"
        )
    activation = config.get("activation_fn") or config.get("activation_fn_str") or "relu"
    if activation != "relu":
        raise SaeFileError(
            f"{path}: the activation of this SAELens folder (before version 6) is {activation!r}, "
            f"which architecture {config.get('architecture')!r} does not imply. "
            f"Convert it: {command}"
        )
    if config.get("reshape_activations", "none") != "none" or config.get("hook_z_reshape"):
        raise SaeFileError(
            f"{path}: reshape_activations is set; only SAEs of tokens [d_model] are read."
        )
    norms = tensors["W_dec"].norm(dim=1)
    if config.get("rescale_acts_by_decoder_norm") and (norms - 1).abs().max() > 1e-3:
        raise SaeFileError(
            f"{path}: rescale_acts_by_decoder_norm is true and rows of W_dec have norms "
            f"{norms.min():.3g} to {norms.max():.3g}. Fold them: {command}"
        )


def _need(config: dict, key: str, path: Path) -> object:
    if key not in config:
        raise SaeFileError(f"{path}: key {key!r} is missing; found {sorted(config)}.")
    return config[key]
