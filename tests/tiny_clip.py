"""A CLIP with random weights that tests can afford: 3 blocks, width 32, a 2 x 2 grid and CLS."""

import json
from pathlib import Path

from clip_sae.planning.architecture import CONFIG_NAME, ModelSource

VISION = {"image_size": 16, "patch_size": 8, "layers": 3, "width": 32, "head_width": 16}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}


def write_config(folder: Path, vision: dict | None = None, **model: object) -> Path:
    """Write an open_clip_config.json for the tiny model, with changes, into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"embed_dim": 8, "vision_cfg": VISION | (vision or {}), "text_cfg": TEXT, **model}
    (folder / CONFIG_NAME).write_text(json.dumps({"model_cfg": config}))
    return folder


def tiny_source(folder: Path, seed: int = 0, **changes: object) -> ModelSource:
    """Return a source with random weights; `changes` as in `write_config`."""
    return ModelSource(f"local-dir:{write_config(folder, **changes)}", f"random:{seed}")
