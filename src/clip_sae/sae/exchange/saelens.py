"""SAELens folders that `Sae.load` refuses: gated SAEs and options that must be folded first.

Read in SAELens 6.54.12: cfg.json and sae_weights.safetensors; activation_scaler.json beside them
where a checkpoint was saved before its input scale was folded.
"""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from clip_sae.sae.exchange.source import SourceSae, need, plain_facts, read_object, take
from clip_sae.sae.files import ARCHITECTURES, CONFIG_NAME, WEIGHTS_NAME, SaeFileError
from clip_sae.sae.folding import Arrays, fold_gated

SCALER_NAME = "activation_scaler.json"
NORMS = ("none", "layer_norm", "constant_norm_rescale")
SCALED = "expected_average_only_in"
FACTS = ("model_name", "hook_name", "hook_point", "dataset_path", "sae_lens_version")


def read(source: Path, *, allow_pickle: bool, input_scale: float | None) -> SourceSae:
    """Read a SAELens folder of a standard, topk, jumprelu or gated SAE."""
    folder = source if source.is_dir() else source.parent
    path, weights = folder / CONFIG_NAME, folder / WEIGHTS_NAME
    config = read_object(path)
    word = _architecture(config, path)
    tensors = load_safetensors(weights)
    gate: tuple[str, ...] = ()
    if word == "gated":
        found = take(tensors, ("W_enc", "W_dec", "b_dec", "b_gate", "b_mag", "r_mag"), weights)
        W_enc, b_enc, threshold = fold_gated(
            found["W_enc"], found["r_mag"], found["b_gate"], found["b_mag"]
        )
        arrays = Arrays(W_enc, b_enc, found["W_dec"], found["b_dec"], threshold)
        gate = ("The gate was folded into a threshold on each latent (exact).",)
    else:
        names = ["W_enc", "b_enc", "W_dec", "b_dec"]
        arrays = Arrays(**take(tensors, names + ["threshold"] * (word == "jumprelu"), weights))
    metadata = config.get("metadata") or {}
    # A gated SAE without its centring: the encoder's shift reaches gate and magnitude alike, and
    # the magnitude's W_enc already carries exp(r_mag), so the general fold of b_dec is right.
    return SourceSae(
        arrays,
        ARCHITECTURES.get(word, "jumprelu"),
        metadata.get("training_architecture") or word,
        (path, weights),
        k=int(need(_options(config), "k", path)) if word == "topk" else None,
        input_norm=_norm(config, path),
        centred=bool(config.get("apply_b_dec_to_input", True)),
        input_scale=_scale(config, folder, input_scale),
        rescaled_selection=bool(config.get("rescale_acts_by_decoder_norm", False)),
        notes=gate,
        facts=plain_facts({**config, **metadata}, FACTS),
    )


def load_safetensors(path: Path) -> dict:
    """Return a safetensors file's tensors by name; raises SaeFileError."""
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


def _options(config: dict) -> dict:
    return {**(config.get("activation_fn_kwargs") or {}), **config}


def _norm(config: dict, path: Path) -> str:
    norm = config.get("normalize_activations", "none")
    if norm == SCALED:
        return "none"
    if norm not in NORMS:
        raise SaeFileError(
            f"{path}: normalize_activations is {norm!r}; read are {', '.join(NORMS)} and {SCALED}. "
            f"Fold it in SAELens first."
        )
    return norm


def _scale(config: dict, folder: Path, given: float | None) -> float | None:
    if config.get("normalize_activations") != SCALED:
        return given
    if given is None and (folder / SCALER_NAME).is_file():
        given = read_object(folder / SCALER_NAME).get("scaling_factor")
    if given is None:
        raise SaeFileError(
            f"{folder / CONFIG_NAME}: normalize_activations is {SCALED!r}, so tokens are to be "
            f"multiplied by a constant that is not in this folder ({SCALER_NAME} is missing). "
            f"Give it with --input-scale: sqrt(d_model) / mean norm of the training tokens."
        )
    return float(given)
