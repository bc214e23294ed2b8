"""The known formats, and how each is recognised by its files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from clip_sae.sae.exchange.folders import read_saelens, read_sparsify
from clip_sae.sae.exchange.linear_layers import read_dictionary_learning, read_openai
from clip_sae.sae.exchange.pickles import foreign_names, load_checkpoint
from clip_sae.sae.exchange.saev import begins_with_json, read_saev
from clip_sae.sae.exchange.source import SourceSae
from clip_sae.sae.exchange.vit_checkpoints import read_patchsae, read_prisma
from clip_sae.sae.files import SaeFileError


@dataclass(frozen=True)
class Format:
    """A reader, and a description of the files that it needs."""

    read: Callable[..., SourceSae]
    files: str


FORMATS = {
    "saelens": Format(read_saelens, "a folder with cfg.json and sae_weights.safetensors"),
    "prisma": Format(read_prisma, "n_images_<N>.pt, or weights.pt next to config.json"),
    "patchsae": Format(read_patchsae, "a .pt file of cfg and state_dict"),
    "saev": Format(read_saev, "sae.pt that begins with a line of JSON"),
    "sparsify": Format(read_sparsify, "a folder with cfg.json and sae.safetensors"),
    "dictionary_learning": Format(read_dictionary_learning, "ae.pt next to config.json"),
    "openai": Format(read_openai, "a .pt state dict with pre_bias and latent_bias"),
}


def recognise(source: Path) -> str:
    """Return the name in `FORMATS` of the SAE at `source`, a file or a folder.

    Raises FileNotFoundError for a missing source, and SaeFileError, listing the files found and
    the known formats, where the files fit none.
    """
    if not source.exists():
        raise FileNotFoundError(f"{source} does not exist; give a checkpoint file or its folder.")
    name = _by_folder(source) if source.is_dir() else _by_file(source)
    if name is None:
        found = sorted(p.name for p in source.iterdir()) if source.is_dir() else [source.name]
        known = "; ".join(f"{key}: {value.files}" for key, value in FORMATS.items())
        raise SaeFileError(
            f"{source} fits no known format (found: {', '.join(found[:12]) or 'nothing'}). "
            f"Known are {known}. If it is one of them, name the file itself, or add --from FORMAT."
        )
    return name


def _by_folder(folder: Path) -> str | None:
    found = {path.name for path in folder.iterdir()}
    if {"cfg.json", "sae_weights.safetensors"} <= found:
        return "saelens"
    if {"cfg.json", "sae.safetensors"} <= found:
        return "sparsify"
    if {"config.json", "ae.pt"} <= found:
        return "dictionary_learning"
    if "sae.pt" in found:
        return "saev"
    checkpoints = [name for name in found if name.startswith("n_images_") and name.endswith(".pt")]
    return "prisma" if checkpoints or {"config.json", "weights.pt"} <= found else None


def _by_file(path: Path) -> str | None:
    if path.suffix == ".safetensors" or path.name == "cfg.json":
        return _by_folder(path.parent)
    if path.suffix != ".pt":
        return None
    if begins_with_json(path):
        return "saev"
    if path.name == "ae.pt":
        return "dictionary_learning"
    names = " ".join(foreign_names(path))
    if "vit_prisma" in names or path.name.startswith("n_images_"):
        return "prisma"
    if "sae_training" in names or "ViTSAERunnerConfig" in names:
        return "patchsae"
    if names:
        return None
    return _by_keys(path)


def _by_keys(path: Path) -> str | None:
    content = load_checkpoint(path, allow_pickle=False)
    keys = set(content) if isinstance(content, dict) else set()
    if {"pre_bias", "latent_bias"} <= keys:
        return "openai"
    if {"cfg", "state_dict"} <= keys:
        return "patchsae"
    if {"W_enc", "W_dec"} <= keys and (path.parent / "config.json").is_file():
        return "prisma"
    return None
