"""Load open_clip's module with its weights from a model source, and fingerprint the weights.

Serves every stage (§3.1). A wrong or missing weight file is refused, never replaced by random
weights; so is one that would run code when it is read, because downloads are not trusted.
"""

import logging
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import open_clip
import torch
from open_clip.pretrained import download_pretrained, download_pretrained_from_hf
from safetensors import SafetensorError

from clip_sae.planning.architecture import HF_HUB, ModelError, ModelSource, architecture
from clip_sae.planning.fingerprints import WEIGHT_SUFFIXES, local_files, local_fingerprint
from clip_sae.planning.specs import file_sha256


def build_module(source: ModelSource) -> torch.nn.Module:
    """Return open_clip's module of `source` in float32 on the CPU, in eval mode, weights frozen.

    Raises ModelError for an unknown tag, a missing or damaged checkpoint, a pickle that holds more
    than weights, and weights of another architecture.
    """
    architecture(source)  # refuses other towers before anything is built
    if source.random_seed is not None:
        module = _random_module(source)
    elif is_local(source):
        module = _module_from_file(source)
    else:
        module = _module_from_hub(source)
    return module.eval().requires_grad_(False)


def model_fingerprint(source: ModelSource) -> str:
    """Return the fingerprint of the weights: "sha256:…" of the files, or "random:SEED".

    The hash of a local folder covers weights, configuration and vocabulary. A tag or a hub
    repository is fetched if this machine has not cached it; its fingerprint starts with its name.
    """
    if source.random_seed is None and is_local(source):
        local_checkpoint(source)  # raises an error that names a missing file
    if (fingerprint := local_fingerprint(source)) is not None:
        return fingerprint
    path = _cached_checkpoint(source)
    revision = f"@{path.parent.name}" if path.parent.parent.name == "snapshots" else ""
    name = source.pretrained or source.model
    return f"{name}{revision} sha256:{file_sha256(path)}"


def is_local(source: ModelSource) -> bool:
    """Return True if the weights are a user's file, False for tags and hub names."""
    suffix = Path(source.pretrained or "").suffix
    return source.folder is not None or suffix in WEIGHT_SUFFIXES


def local_checkpoint(source: ModelSource) -> Path:
    """Return the weight file of a local source; ModelError names a missing file."""
    if source.folder is None:
        path = Path(source.pretrained)
        if not path.is_file():
            raise ModelError(f"pretrained: there is no checkpoint {path}; check the path.")
        return path
    if source.pretrained is not None:
        raise ModelError(
            f"model {source.model!r} has its own weights, but pretrained is "
            f"{source.pretrained!r}. Leave pretrained empty, or write 'random:SEED'."
        )
    found = [p for p in local_files(source) if p.suffix in WEIGHT_SUFFIXES]
    if len(found) != 1:
        names = ", ".join(p.name for p in found) or "none"
        raise ModelError(
            f"model {source.model!r}: the folder must hold exactly one weight file "
            f"({', '.join(WEIGHT_SUFFIXES)}; safetensors win); found: {names}."
        )
    return found[0]


def _random_module(source: ModelSource) -> torch.nn.Module:
    with torch.random.fork_rng(devices=[]):  # keeps the caller's random state
        torch.manual_seed(source.random_seed)
        return _create(source, load_weights=False)


def _module_from_file(source: ModelSource) -> torch.nn.Module:
    path = local_checkpoint(source)
    module = _create(source, load_weights=False)
    _load_into(module, path)
    return module


def _module_from_hub(source: ModelSource) -> torch.nn.Module:
    path = _cached_checkpoint(source)
    tag_config = open_clip.get_pretrained_cfg(source.name, source.pretrained or "") or {}
    # open_clip only warns when a tag's weights need QuickGELU and the architecture ("ViT-B-16" with
    # "openai") has GELU, and then runs the wrong activation. The tag knows.
    quick_gelu = bool(tag_config.get("quick_gelu", False))
    module = _create(source, load_weights=False, force_quick_gelu=quick_gelu)
    if tag_config:
        module.visual.image_mean, module.visual.image_std = tag_config["mean"], tag_config["std"]
    _load_into(module, path)
    return module


def _cached_checkpoint(source: ModelSource) -> Path:
    """Return the weight file of a tag or hub repository, fetched if necessary."""
    if source.model.startswith(HF_HUB):
        return _fetch(source, lambda: download_pretrained_from_hf(source.model[len(HF_HUB) :]))
    tag_config = open_clip.get_pretrained_cfg(source.name, source.pretrained or "")
    if not tag_config:
        tags = open_clip.list_pretrained_tags_by_model(source.name)
        raise ModelError(
            f"pretrained: {source.pretrained!r} is not a tag of {source.model!r}; tags: "
            f"{', '.join(tags) or 'none'}. Write one of them, the path of a checkpoint "
            f"({', '.join(WEIGHT_SUFFIXES)}) or 'random:SEED'."
        )
    return _fetch(source, lambda: download_pretrained(tag_config))


def _fetch(source: ModelSource, download: Callable[[], str]) -> Path:
    try:
        return Path(download())
    except Exception as error:  # the advice is the same for every hub, URL and cache failure
        raise ModelError(
            f"the weights of {source.model!r} {source.pretrained or ''} are not cached here and "
            f"could not be fetched ({error}). Run once with network access, or give the path of a "
            "checkpoint as pretrained."
        ) from error


def _create(source: ModelSource, **options: object) -> torch.nn.Module:
    """Create open_clip's module without its log line about missing weights, loaded later."""
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return open_clip.create_model(source.name, pretrained_text=False, **options)
    finally:
        logging.root.setLevel(level)


def _load_into(module: torch.nn.Module, path: Path) -> None:
    try:
        _refuse_code(path)
        open_clip.load_checkpoint(module, str(path), weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"checkpoint {path} holds more than weights, and loading such a pickle runs its code. "
            "Save its state_dict as .safetensors and use that file."
        ) from error
    except (SafetensorError, EOFError, OSError) as error:
        raise ModelError(f"checkpoint {path} is damaged or cut short ({error}).") from error
    except RuntimeError as error:
        lines = str(error).splitlines()
        shown = " ".join(line.strip() for line in lines[:4])
        raise ModelError(
            f"checkpoint {path} cannot be loaded into {type(module).__name__}: {shown}"
            f"{' …' if len(lines) > 4 else ''} Check that the architecture is the checkpoint's, "
            "and that it is a state_dict."
        ) from error
    except (AttributeError, KeyError, StopIteration, TypeError) as error:
        raise ModelError(
            f"checkpoint {path} holds no state_dict of a CLIP ({type(error).__name__}: {error}). "
            "Save its state_dict as .safetensors and use that file."
        ) from error


def _refuse_code(path: Path) -> None:
    """Raise ModelError for a checkpoint that would run its own code when read.

    open_clip also loads with `weights_only`, but after a TypeError, which a crafted file can cause,
    it loads again without; with TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD set, as some projects advise, that
    unpickles everything. So the guarded reader reads the whole file here first.
    """
    if path.suffix not in WEIGHT_SUFFIXES:  # open_clip reads further formats in other ways
        raise ModelError(
            f"checkpoint {path} is not one of {', '.join(WEIGHT_SUFFIXES)}. Save its state_dict as "
            ".safetensors and use that file."
        )
    if path.suffix == ".safetensors":
        return
    is_zip = zipfile.is_zipfile(path)
    if is_zip and _is_torchscript(path):
        raise ModelError(
            f"checkpoint {path} is a TorchScript archive, a program with its weights, as OpenAI "
            "publishes its .pt files, and loading it runs the program. For OpenAI's weights write "
            "the tag, `pretrained: openai`, which fetches the same without the program. For any "
            "other model save the state_dict as .safetensors and use that file."
        )
    torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)


def _is_torchscript(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        return any(Path(name).name == "constants.pkl" for name in archive.namelist())
