"""Folders of cfg.json and safetensors: SAELens, and sparsify of EleutherAI.

SAELens was read in 6.54.12, for the SAEs that `Sae.load` refuses: gated ones and options that must
be folded first; activation_scaler.json lies next to the weights where a checkpoint was saved before
its input scale was folded. sparsify was read in 1.3.3: TopK after ReLU, a folder per hook point.
"""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from clip_sae.sae.exchange.source import (
    ARRAYS,
    GATED_ARRAYS,
    SourceSae,
    direct_arrays,
    linear_arrays,
    need,
    plain_facts,
    read_object,
    take,
)
from clip_sae.sae.files import ARCHITECTURES, CONFIG_NAME, INPUT_NORMS, WEIGHTS_NAME, SaeFileError

SCALER_NAME = "activation_scaler.json"
SCALED = "expected_average_only_in"
SAELENS_FACTS = ("model_name", "hook_name", "hook_point", "dataset_path", "sae_lens_version")
SPARSIFY_WEIGHTS = "sae.safetensors"
SPARSIFY_FACTS = ("expansion_factor", "normalize_decoder", "multi_topk")


def read_saelens(source: Path, *, allow_pickle: bool) -> SourceSae:
    """Read a SAELens folder of a standard, topk, jumprelu or gated SAE."""
    folder = source if source.is_dir() else source.parent
    path, weights = folder / CONFIG_NAME, folder / WEIGHTS_NAME
    config = read_object(path)
    word = _architecture(config, path)
    gated = word == "gated"
    names = GATED_ARRAYS if gated else (*ARRAYS, "threshold") if word == "jumprelu" else ARRAYS
    arrays, notes = direct_arrays(take(_safetensors(weights), names, weights))
    metadata = config.get("metadata") or {}
    options = {**(config.get("activation_fn_kwargs") or {}), **config}
    scale, missing = _scale(config, folder)
    # A gated SAE without its centring: the encoder's shift reaches gate and magnitude alike, and
    # the magnitude's W_enc already carries exp(r_mag), so the general fold of b_dec is right.
    return SourceSae(
        arrays,
        ARCHITECTURES.get(word, "jumprelu"),
        metadata.get("training_architecture") or word,
        (path, weights),
        k=int(need(options, "k", path)) if word == "topk" else None,
        input_norm=_norm(config, path),
        centred=bool(config.get("apply_b_dec_to_input", True)),
        input_scale=scale,
        missing_scale=missing,
        rescaled_selection=bool(config.get("rescale_acts_by_decoder_norm", False)),
        notes=notes,
        facts=plain_facts({**config, **metadata}, SAELENS_FACTS),
    )


def read_sparsify(source: Path, *, allow_pickle: bool) -> SourceSae:
    """Read the folder of one hook point; the encoder is stored by rows, [latent, d_model]."""
    folder = source if source.is_dir() else source.parent
    path, weights = folder / CONFIG_NAME, folder / SPARSIFY_WEIGHTS
    config = read_object(path)
    if config.get("transcode") or config.get("skip_connection"):
        raise SaeFileError(f"{path} is a transcoder: it maps one hook to another, not to itself.")
    activation = config.get("activation", "topk")
    if activation != "topk" or config.get("signed"):
        raise SaeFileError(f"{path}: activation {activation!r}; read is topk, unsigned.")
    names = ("encoder.weight", "encoder.bias", "W_dec", "b_dec")
    return SourceSae(
        linear_arrays(take(_safetensors(weights), names, weights)),
        "topk",
        "topk",
        (path, weights),
        k=int(need(config, "k", path)),
        facts={**plain_facts(config, SPARSIFY_FACTS), "hook_point": folder.name},
    )


def _safetensors(path: Path) -> dict:
    if not path.is_file():
        found = sorted(p.name for p in path.parent.iterdir())
        raise SaeFileError(f"{path} is missing; the folder holds {found}.")
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise SaeFileError(f"{path} is damaged ({error}); copy or download it again.") from error


def _architecture(config: dict, path: Path) -> str:
    word = need(config, "architecture", path)
    activation = config.get("activation_fn") or config.get("activation_fn_str") or "relu"
    if word == "standard" and activation == "topk":
        return "topk"  # before SAELens 6, TopK was an activation of the standard architecture
    if word not in (*ARCHITECTURES, "gated") or (word != "topk" and activation != "relu"):
        raise SaeFileError(
            f"{path}: architecture is {word!r} with activation {activation!r}; read are standard, "
            f"topk, jumprelu and gated with ReLU. (SAELens saves a finished batchtopk or "
            f"matryoshka_batchtopk SAE as jumprelu: use its save_inference_model.)"
        )
    if config.get("reshape_activations", "none") != "none" or config.get("hook_z_reshape"):
        raise SaeFileError(f"{path}: reshape_activations is set; only tokens [d_model] are read.")
    return word


def _norm(config: dict, path: Path) -> str:
    norm = config.get("normalize_activations", "none")
    if norm == SCALED:
        return "none"
    if norm not in INPUT_NORMS:
        raise SaeFileError(
            f"{path}: normalize_activations is {norm!r}; read are {', '.join(INPUT_NORMS)} and "
            f"{SCALED}. Fold it in SAELens first."
        )
    return norm


def _scale(config: dict, folder: Path) -> tuple[float | None, str]:
    """Return the input scale of the folder and, where it needs one and has none, a sentence."""
    if config.get("normalize_activations") != SCALED:
        return None, ""
    if (folder / SCALER_NAME).is_file():
        found = read_object(folder / SCALER_NAME).get("scaling_factor")
        if found is not None:
            return float(found), ""
    return None, (
        f"{folder / CONFIG_NAME}: normalize_activations is {SCALED!r}, so tokens are to be "
        f"multiplied by a constant that is not in this folder ({SCALER_NAME} is missing). "
        f"Give it with --input-scale: sqrt(d_model) / mean norm of the training tokens."
    )
