"""torch.save files of {"cfg", "state_dict"}: ViT-Prisma, the steering paper's code, and PatchSAE.

ViT-Prisma was read at 2025-05: `n_images_<N>.pt`; released SAEs have `weights.pt` (the same, or
tensors alone) next to `config.json`. PatchSAE (and its ancestor, mats_sae_training_for_ViTs) was
read at 2025-10: a ReLU SAE without input norm; its gated variant has no forward pass there.
"""

from __future__ import annotations

from pathlib import Path

from clip_sae.sae.exchange.pickles import load_checkpoint, settings_of
from clip_sae.sae.exchange.source import (
    ARRAYS,
    GATED_ARRAYS,
    SourceSae,
    direct_arrays,
    need,
    plain_facts,
    read_object,
    take,
)
from clip_sae.sae.files import SaeFileError

PARTS = {"cfg", "state_dict"}
NORMS = ("layer_norm", "constant_norm_rescale")  # any other word means no norm in ViT-Prisma
PRISMA_FACTS = (
    "model_name", "hook_point", "hook_point_layer", "layer_subtype", "cls_token_only",
    "use_patches_only", "l1_coefficient", "lr", "expansion_factor", "dataset_name",
    "initialization_method",
)  # fmt: skip
PATCHSAE_FACTS = (
    "model_name", "module_name", "block_layer", "dataset_path", "class_token", "l1_coefficient",
    "lr", "expansion_factor", "total_training_tokens",
)  # fmt: skip


def read_prisma(source: Path, *, allow_pickle: bool) -> SourceSae:
    """Read one checkpoint file, or a folder with exactly one, of a standard or gated SAE."""
    path = _checkpoint_file(source)
    content = load_checkpoint(path, allow_pickle=allow_pickle)
    beside = path.parent / "config.json"
    if isinstance(content, dict) and set(content) >= PARTS:
        settings, tensors, files = settings_of(content["cfg"], path), content["state_dict"], (path,)
    else:
        settings, tensors, files = read_object(beside), content, (path, beside)
    if settings.get("is_transcoder"):
        raise SaeFileError(f"{path} is a transcoder: it maps one layer to another, not to itself.")
    gated = settings.get("architecture", "standard") == "gated"
    architecture, k = _activation(settings, gated, path)
    names, ignored = (GATED_ARRAYS, ("b_enc",)) if gated else (ARRAYS, ())
    arrays, notes = direct_arrays(take(tensors, names, path, ignored))
    norm = settings.get("normalize_activations")
    return SourceSae(
        arrays,
        architecture,
        "gated" if gated else {"vanilla": "standard"}.get(architecture, architecture),
        files,
        k=k,
        # Checkpoints from before the setting existed do not say, so the user must.
        input_norm=None if norm is None else norm if norm in NORMS else "none",
        notes=notes,
        facts=plain_facts(settings, PRISMA_FACTS),
    )


def read_patchsae(source: Path, *, allow_pickle: bool) -> SourceSae:
    """Read one checkpoint file."""
    if not source.is_file():
        raise SaeFileError(f"{source} is not a file; name PatchSAE's .pt file itself.")
    content = load_checkpoint(source, allow_pickle=allow_pickle)
    if not isinstance(content, dict) or not set(content) >= PARTS:
        found = sorted(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise SaeFileError(f"{source} holds {found}; expected 'cfg' and 'state_dict'.")
    settings = settings_of(content["cfg"], source)
    if settings.get("gated_sae"):
        raise SaeFileError(f"{source}: gated_sae is set; PatchSAE does not define its latents.")
    arrays, _ = direct_arrays(take(content["state_dict"], ARRAYS, source))
    facts = plain_facts(settings, PATCHSAE_FACTS)
    return SourceSae(arrays, "vanilla", "standard", (source,), facts=facts)


def _checkpoint_file(source: Path) -> Path:
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
