"""The sizes of a CLIP image tower, read from its configuration file alone.

Serves every stage: the workflow plans layers, grids and store sizes before any weight exists
(§3.1: CLIP ViT-B/32). Standard library only, because the Snakefile imports it.
"""

import difflib
import importlib.util
import json
import os
from dataclasses import dataclass
from pathlib import Path

LOCAL_DIR = "local-dir:"
HF_HUB = "hf-hub:"
RANDOM = "random:"
CONFIG_NAME = "open_clip_config.json"


class ModelError(ValueError):
    """The requested model does not exist, cannot be read, or has an unsupported tower."""


@dataclass(frozen=True)
class ModelSource:
    """A CLIP architecture and its weights.

    `model`: an open_clip architecture ("ViT-B-32"), "local-dir:FOLDER" or "hf-hub:OWNER/NAME".
    `pretrained`: an open_clip tag, the path of a .safetensors or .pt checkpoint, "random:SEED", or
    None for a folder or a hub repository, which hold their own weights.
    """

    model: str
    pretrained: str | None = None

    @property
    def folder(self) -> Path | None:
        """The folder of a local-dir model, else None."""
        return Path(self.model[len(LOCAL_DIR) :]) if self.model.startswith(LOCAL_DIR) else None

    @property
    def name(self) -> str:
        """Name of the architecture in open_clip, where a slash is a dash."""
        prefixed = self.model.startswith((LOCAL_DIR, HF_HUB))
        return self.model if prefixed else self.model.replace("/", "-")

    @property
    def random_seed(self) -> int | None:
        """The seed of random weights, None for trained ones."""
        if self.pretrained is None or not self.pretrained.startswith(RANDOM):
            return None
        seed = self.pretrained[len(RANDOM) :]
        if not seed.isdecimal():
            raise ModelError(f"pretrained: {self.pretrained!r} has no seed; write e.g. 'random:0'.")
        return int(seed)


@dataclass(frozen=True)
class Architecture:
    """Sizes of an image tower. Lengths in pixels; `grid` patches on a side, row-major."""

    n_layers: int
    d_model: int
    d_embed: int
    image_size: int
    patch_size: int
    n_patches: int
    grid: int

    @property
    def n_tokens(self) -> int:
        """CLS and the patches."""
        return 1 + self.n_patches


def architecture(source: ModelSource) -> Architecture:
    """Return the sizes of `source`'s image tower without importing torch or open_clip.

    Raises ModelError for an unknown name, an unreadable configuration, one that would run code, and
    every tower that is not open_clip's own VisionTransformer with one pooled token (ResNet, timm,
    CoCa, attentional pool).
    """
    config = model_config(source)
    vision = config["vision_cfg"]
    _refuse_other_towers(source.model, config, vision)
    _refuse_code(source.model, config["text_cfg"])
    image_size = _square(source.model, "image_size", vision.get("image_size", 224))
    patch_size = _square(source.model, "patch_size", vision.get("patch_size", 16))
    grid = image_size // patch_size
    return Architecture(
        n_layers=vision.get("layers", 12),  # the defaults here are open_clip's CLIPVisionCfg
        d_model=vision.get("width", 768),
        d_embed=config["embed_dim"],
        image_size=image_size,
        patch_size=patch_size,
        n_patches=grid * grid,
        grid=grid,
    )


def model_config(source: ModelSource) -> dict:
    """Return open_clip's model configuration (`embed_dim`, `vision_cfg`, `text_cfg`, …)."""
    if source.folder is not None:
        path = source.folder / CONFIG_NAME
        hint = "A local-dir model is a folder with open_clip_config.json and one weight file."
    elif source.model.startswith(HF_HUB):
        path = _hub_config_path(source.model[len(HF_HUB) :])
        hint = (
            "It is not in the Hugging Face cache of this machine: fetch it once with "
            f"`hf download {source.model[len(HF_HUB) :]}`, or use 'local-dir:FOLDER'."
        )
    else:
        path = _builtin_config_path(source.name)
        hint = ""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise ModelError(f"model {source.model!r}: there is no {path}. {hint}") from None
    except ValueError as error:
        raise ModelError(f"model {source.model!r}: {path} is not JSON ({error}).") from None
    config = config.get("model_cfg", config)
    missing = [key for key in ("embed_dim", "vision_cfg", "text_cfg") if key not in config]
    if missing:
        raise ModelError(f"model {source.model!r}: {path} lacks {', '.join(missing)}. {hint}")
    return config


def builtin_names() -> list[str]:
    """Names of all architectures that the installed open_clip knows."""
    return sorted(path.stem for path in _builtin_config_folder().glob("*.json"))


def _builtin_config_folder() -> Path:
    spec = importlib.util.find_spec("open_clip")  # finds the folder, runs none of its code
    if spec is None or spec.origin is None:
        raise ModelError("open_clip is not installed: `pip install -r envs/requirements.txt`.")
    return Path(spec.origin).parent / "model_configs"


def _builtin_config_path(name: str) -> Path:
    path = _builtin_config_folder() / f"{name}.json"
    if not path.is_file():
        near = difflib.get_close_matches(name, builtin_names(), n=3) or ["ViT-B-32", "ViT-B-16"]
        raise ModelError(
            f"model {name!r} is not an architecture of the installed open_clip; nearest: "
            f"{', '.join(near)}. Write one of those, 'local-dir:FOLDER' or 'hf-hub:OWNER/NAME'."
        )
    return path


def _hub_config_path(repository: str) -> Path:
    """Return the cached configuration of the last fetched revision of a hub repository."""
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    cache = Path(os.environ.get("HF_HUB_CACHE", home / "hub"))
    folder = cache / f"models--{repository.replace('/', '--')}"
    reference = folder / "refs" / "main"
    revision = reference.read_text().strip() if reference.is_file() else "main"
    return folder / "snapshots" / revision / CONFIG_NAME


def _refuse_other_towers(model: str, config: dict, vision: dict) -> None:
    """Raise ModelError for a tower whose residual stream cannot be cut at a layer."""
    if isinstance(vision.get("layers", 12), list | tuple):
        tower = "a ResNet"
    elif vision.get("timm_model_name"):
        tower = f"the timm model {vision['timm_model_name']!r}"
    elif "multimodal_cfg" in config:
        tower = "a CoCa model"
    elif vision.get("attentional_pool"):
        tower = "a ViT with attentional pooling"
    elif vision.get("pool_type", "tok") not in ("tok", "avg"):
        tower = f"a ViT with pool_type {vision['pool_type']!r}"
    else:
        return
    raise ModelError(
        f"model {model!r}: its image tower is {tower}; only open_clip's VisionTransformer with one "
        "pooled token is supported, e.g. ViT-B-32, ViT-B-16 or ViT-L-14."
    )


def _refuse_code(model: str, text: dict) -> None:
    """Raise ModelError for options with which transformers would run Python files of a hub."""
    if (text.get("tokenizer_kwargs") or {}).get("trust_remote_code"):
        raise ModelError(
            f"model {model!r}: its configuration sets trust_remote_code for the tokenizer, so "
            "loading it would run code from a hub. Remove the key from text_cfg.tokenizer_kwargs "
            "if the tokenizer works without, or use another model."
        )


def _square(model: str, key: str, value: int | list[int]) -> int:
    sides = value if isinstance(value, list | tuple) else [value]
    if len(set(sides)) != 1:
        raise ModelError(f"model {model!r}: {key} {sides} is not square; only square grids work.")
    return sides[0]
