"""ViT-Prisma checkpoints, the format of the steering paper's own SAEs.

Read in ViT-Prisma (2025-05): `n_images_<N>.pt` holds {"cfg": a config object, "state_dict"};
released SAEs have `weights.pt` (the same, or tensors alone) beside `config.json`.
"""

from __future__ import annotations

from pathlib import Path

from clip_sae.sae.exchange.pickles import load_checkpoint, settings_of
from clip_sae.sae.exchange.source import SourceSae, need, plain_facts, read_object, take
from clip_sae.sae.files import SaeFileError
from clip_sae.sae.folding import Arrays, fold_gated

NORMS = ("layer_norm", "constant_norm_rescale")  # any other word means no norm there
FACTS = (
    "model_name", "hook_point", "hook_point_layer", "layer_subtype", "cls_token_only",
    "use_patches_only", "l1_coefficient", "lr", "expansion_factor", "dataset_name",
    "initialization_method",
)  # fmt: skip


def read(source: Path, *, allow_pickle: bool, input_scale: float | None) -> SourceSae:
    """Read one checkpoint file, or a folder with exactly one, of a standard or gated SAE."""
    path = checkpoint_file(source)
    content = load_checkpoint(path, allow_pickle=allow_pickle)
    embedded = isinstance(content, dict) and {"cfg", "state_dict"} <= set(content)
    beside = path.parent / "config.json"
    if embedded:
        settings, tensors, files = settings_of(content["cfg"], path), content["state_dict"], (path,)
    else:
        settings, tensors, files = read_object(beside), content, (path, beside)
    if settings.get("is_transcoder"):
        raise SaeFileError(f"{path} is a transcoder: it maps one layer to another, not to itself.")
    gated = settings.get("architecture", "standard") == "gated"
    architecture, k = _activation(settings, gated, path)
    if gated:
        names = ("W_enc", "W_dec", "b_dec", "b_gate", "b_mag", "r_mag")
        found = take(tensors, names, path, ignored=("b_enc",))
        W_enc, b_enc, threshold = fold_gated(
            found["W_enc"], found["r_mag"], found["b_gate"], found["b_mag"]
        )
        arrays = Arrays(W_enc, b_enc, found["W_dec"], found["b_dec"], threshold)
        notes = ("The gate was folded into a threshold on each latent (exact).",)
    else:
        arrays, notes = Arrays(**take(tensors, ("W_enc", "b_enc", "W_dec", "b_dec"), path)), ()
    norm = settings.get("normalize_activations")
    return SourceSae(
        arrays,
        architecture,
        "gated" if gated else {"vanilla": "standard"}.get(architecture, architecture),
        files,
        k=k,
        # Checkpoints from before the setting existed do not say, so the user must.
        input_norm=None if norm is None else norm if norm in NORMS else "none",
        input_scale=input_scale,
        notes=notes,
        facts=plain_facts(settings, FACTS),
    )


def checkpoint_file(source: Path) -> Path:
    """Return the checkpoint that `source` names: itself, or the only one in the folder."""
    if source.is_file():
        return source
    found = sorted(source.glob("n_images_*.pt")) or sorted(source.glob("weights.pt"))
    if len(found) != 1:
        listed = ", ".join(p.name for p in found) or "none"
        raise SaeFileError(
            f"{source}: expected one n_images_*.pt or weights.pt, found {listed}. Name the file."
        )
    return found[0]


def _activation(settings: dict, gated: bool, path: Path) -> tuple[str, int | None]:
    word = settings.get("activation_fn_str", "relu")
    options = settings.get("activation_fn_kwargs") or {}
    architecture = settings.get("architecture", "standard")
    if architecture not in ("standard", "gated"):
        raise SaeFileError(f"{path}: architecture {architecture!r}; read are standard and gated.")
    if word == "relu":
        return ("jumprelu" if gated else "vanilla"), None
    if word == "topk" and not gated and set(options) <= {"k"}:
        return "topk", int(need(options, "k", path))
    raise SaeFileError(
        f"{path}: activation {word!r} with {sorted(options)} in a {architecture} SAE; read are "
        f"relu, and topk (with k, of a standard SAE)."
    )
