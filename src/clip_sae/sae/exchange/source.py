"""The common result of all readers, and the checks that they share."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from clip_sae.sae.files import SaeFileError
from clip_sae.sae.folding import Arrays, fold_gated

ARRAYS = ("W_enc", "b_enc", "W_dec", "b_dec")
GATED_ARRAYS = ("W_enc", "W_dec", "b_dec", "b_gate", "b_mag", "r_mag")
GATE_NOTE = "The gate was folded into a threshold on each latent (exact)."


@dataclass(frozen=True)
class SourceSae:
    """An SAE as another project wrote it, in our orientation but not yet in our conventions.

    `architecture`: how latents are read, "vanilla", "topk" (with `k`) or "jumprelu".
    `training_architecture`: how it was trained, in SAELens' words. `input_norm`: None where the
    format does not say. `centred`: whether b_dec is subtracted before the encoder.
    `input_scale`: tokens are multiplied by it before, and the output divided by it after;
    `missing_scale`: a sentence where the SAE needs one that its files do not hold.
    `rescaled_selection`: TopK chooses latents by pre-activation x row norm of W_dec.
    `notes`: sentences for the reader of the result; `facts`: its recipe, as far as written down.
    """

    arrays: Arrays
    architecture: str
    training_architecture: str
    files: tuple[Path, ...]
    k: int | None = None
    input_norm: str | None = "none"
    centred: bool = True
    input_scale: float | None = None
    missing_scale: str = ""
    rescaled_selection: bool = False
    notes: tuple[str, ...] = ()
    facts: dict[str, object] = field(default_factory=dict)


def read_object(path: Path) -> dict:
    """Return the JSON object in `path`; raises SaeFileError naming the file."""
    if not path.is_file():
        raise SaeFileError(f"{path} is missing; this format keeps the SAE's settings there.")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SaeFileError(f"{path} is not JSON ({error}); copy or download it again.") from error
    if not isinstance(value, dict):
        raise SaeFileError(f"{path} holds a {type(value).__name__}; expected a JSON object.")
    return value


def need(settings: Mapping, key: str, path: Path) -> object:
    """Return settings[key]; raises SaeFileError listing the keys found."""
    if not isinstance(settings, Mapping):
        raise SaeFileError(f"{path}: found {settings!r} where settings with {key!r} were expected.")
    if settings.get(key) is None:
        raise SaeFileError(f"{path}: setting {key!r} is missing; found {sorted(settings)}.")
    return settings[key]


def take(
    tensors: object, names: Iterable[str], path: Path, ignored: Iterable[str] = ()
) -> dict[str, torch.Tensor]:
    """Return the named tensors in float64, contiguous; others may only be among `ignored`.

    Any other tensor could change what the SAE computes, so it is refused.
    """
    names, ignored = tuple(names), set(ignored)
    if not isinstance(tensors, Mapping):
        raise SaeFileError(f"{path} holds a {type(tensors).__name__}; expected tensors by name.")
    missing, extra = set(names) - set(tensors), set(tensors) - set(names) - ignored
    if missing or extra:
        raise SaeFileError(
            f"{path} holds {sorted(tensors)}; expected {sorted(names)}"
            f"{f' (missing: {sorted(missing)})' if missing else ''}"
            f"{f' (not known: {sorted(extra)})' if extra else ''}. Is it of another format? "
            f"Name it with --from."
        )
    for name in names:
        if not isinstance(tensors[name], torch.Tensor):
            raise SaeFileError(f"{path}: {name} is a {type(tensors[name]).__name__}, not a tensor.")
    # Folding in float64 keeps the error of the result at the rounding of its float32 weights.
    return {name: tensors[name].detach().double().contiguous() for name in names}


def direct_arrays(found: Mapping[str, torch.Tensor]) -> tuple[Arrays, tuple[str, ...]]:
    """Return (arrays, notes) from tensors with this project's names, a gate folded."""
    if "r_mag" not in found:
        return Arrays(**found), ()
    gate = fold_gated(found["W_enc"], found["r_mag"], found["b_gate"], found["b_mag"])
    return Arrays(gate[0], gate[1], found["W_dec"], found["b_dec"], gate[2]), (GATE_NOTE,)


def linear_arrays(found: Mapping[str, torch.Tensor]) -> Arrays:
    """Return the arrays from tensors with the names of linear layers, which are stored by output.

    Names of this project may be among them; a gate is folded.
    """

    def first(*names: str) -> torch.Tensor:
        return next(found[name] for name in names if name in found)

    def turned(name: str, linear: str) -> torch.Tensor:
        return found[name] if name in found else found[linear].T.contiguous()

    W_enc, W_dec = turned("W_enc", "encoder.weight"), turned("W_dec", "decoder.weight")
    b_dec = first("b_dec", "bias", "decoder.bias", "decoder_bias", "pre_bias")
    if "r_mag" in found:
        gate = fold_gated(W_enc, found["r_mag"], found["gate_bias"], found["mag_bias"])
        return Arrays(gate[0], gate[1], W_dec, b_dec, gate[2])
    b_enc = first("b_enc", "encoder.bias", "latent_bias")
    threshold = found.get("threshold")
    if threshold is not None and threshold.ndim == 0:  # BatchTopK: one number for all latents
        threshold = threshold.expand(len(b_enc)).contiguous()
    return Arrays(W_enc, b_enc, W_dec, b_dec, threshold)


def check_shapes(arrays: Arrays, path: Path) -> None:
    """Raise SaeFileError unless all arrays agree with W_dec [latent, d_model]."""
    if arrays.W_dec.ndim != 2:
        raise SaeFileError(
            f"{path}: the decoder has shape {tuple(arrays.W_dec.shape)}; expected 2 axes."
        )
    d_sae, d_model = arrays.W_dec.shape
    expected = {
        "W_enc": (d_model, d_sae), "b_enc": (d_sae,), "W_dec": (d_sae, d_model),
        "b_dec": (d_model,), "threshold": (d_sae,),
    }  # fmt: skip
    for name, tensor in arrays.tensors().items():
        if tuple(tensor.shape) != expected[name]:
            raise SaeFileError(
                f"{path}: {name} has shape {tuple(tensor.shape)}; with {d_sae} latents on tokens "
                f"of width {d_model} (the decoder's) it should be {expected[name]}."
            )
        if not tensor.isfinite().all():
            raise SaeFileError(f"{path}: {name} holds NaN or infinity; its training diverged.")


def plain_facts(settings: Mapping, keys: Iterable[str]) -> dict[str, object]:
    """Return the settings among `keys` that JSON can hold and that are set."""
    found = {key: settings[key] for key in keys if settings.get(key) is not None}
    return {key: value for key, value in found.items() if isinstance(value, str | int | float)}
