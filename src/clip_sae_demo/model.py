"""The demo CLIP: open_clip's own `CLIP` class in the paper's geometry, made small.

56 px in patches of 8 px give a 7 x 7 grid and CLS: 50 tokens, as ViT-B/32 has at 224 px.
"""

import json
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors.torch import save_file

from clip_sae.clip.tokenizer import CONTEXT_LENGTH, WordTokenizer, build_vocabulary
from clip_sae.planning.fingerprints import VOCABULARY_NAME
from clip_sae_demo.words import (
    BINDING_WORDS,
    PLACEHOLDERS,
    SHORT_TEMPLATES,
    VOCABULARY,
)
from clip_sae_demo.world import IMAGE_SIZE

# Grey 0.5 and the spread of a drawn pixel, in 0-1 units; the same for all three channels.
PIXEL_MEAN = 0.5
PIXEL_STD = 0.25

CONFIG_NAME = "open_clip_config.json"  # names that open_clip looks for in a `local-dir:`
WEIGHTS_NAME = "open_clip_model.safetensors"


def demo_vocabulary() -> list[str]:
    """Return the tokens in id order: concepts, the words of all templates, placeholders."""
    templates = [template("") for template in open_clip.OPENAI_IMAGENET_TEMPLATES]
    own = [template.format("") for template in SHORT_TEMPLATES]
    return build_vocabulary([*templates, *own, *VOCABULARY, *BINDING_WORDS, *PLACEHOLDERS])


def demo_config(vocab_size: int) -> dict[str, Any]:
    """Return the content of `open_clip_config.json`."""
    return {
        "model_cfg": {
            "embed_dim": 128,
            "vision_cfg": {
                "image_size": IMAGE_SIZE,
                "patch_size": 8,
                "layers": 6,
                "width": 128,
                "head_width": 32,
            },
            "text_cfg": {
                "context_length": CONTEXT_LENGTH,
                "vocab_size": vocab_size,
                "width": 128,
                "heads": 4,
                "layers": 2,
            },
        },
        "preprocess_cfg": {
            "mean": [PIXEL_MEAN] * 3,
            "std": [PIXEL_STD] * 3,
            "size": IMAGE_SIZE,
            "mode": "RGB",
            "interpolation": "bicubic",
            "resize_mode": "shortest",
        },
    }


def build_model(vocab_size: int) -> open_clip.CLIP:
    """Return the untrained model; seed torch before the call."""
    return open_clip.CLIP(**demo_config(vocab_size)["model_cfg"])


def to_pixels(images: torch.Tensor) -> torch.Tensor:
    """Turn uint8 [image, y, x, rgb] into the network's input, float32 [image, rgb, y, x]."""
    return images.permute(0, 3, 1, 2).float().div_(255.0 * PIXEL_STD).sub_(PIXEL_MEAN / PIXEL_STD)


def save_model(model: torch.nn.Module, vocabulary: list[str], out_dir: Path) -> None:
    """Write a folder that `open_clip.create_model("local-dir:...")` loads."""
    save_vocabulary(vocabulary, out_dir)
    weights = {name: value.float().contiguous() for name, value in model.state_dict().items()}
    save_file(weights, out_dir / WEIGHTS_NAME)
    (out_dir / WEIGHTS_NAME).chmod(0o644)  # safetensors writes files for their owner only
    config = demo_config(len(vocabulary))
    (out_dir / CONFIG_NAME).write_text(json.dumps(config, indent=2) + "\n")


def save_vocabulary(vocabulary: list[str], out_dir: Path) -> Path:
    """Write the tokens in id order, one per line; return the file."""
    out_dir.mkdir(parents=True, exist_ok=True)
    path = out_dir / VOCABULARY_NAME
    path.write_text(json.dumps(vocabulary, indent=0) + "\n")
    return path


def load_demo(folder: Path) -> tuple[open_clip.CLIP, WordTokenizer]:
    """Return the trained model in eval mode with its tokenizer."""
    model = open_clip.create_model(f"local-dir:{folder}")
    return model.eval(), WordTokenizer(Path(folder) / VOCABULARY_NAME)
