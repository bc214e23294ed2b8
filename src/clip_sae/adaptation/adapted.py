"""An adapted CLIP: the two entries of a frozen one, with the learned prompts in place.

PatchSAE §5. Its two sides can be combined with those of another model, which separates the gain of
new concepts from that of a new reading of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from clip_sae.adaptation.image_side import ImageSide
from clip_sae.adaptation.prompts import CHECKPOINT, NONE, Prompts, PromptSpec, load_prompts
from clip_sae.adaptation.text_side import TextSide, text_width
from clip_sae.clip.model import ClipModel, Key, load_clip
from clip_sae.planning.architecture import ModelError, ModelSource

TEMPLATE = PromptSpec.template


@dataclass(frozen=True)
class AdaptedClip:
    """An image side and a text side.

    `kind` names the adaptation ("none" for the frozen model), or both of a combination.
    """

    kind: str
    image: ImageSide
    text: TextSide

    @classmethod
    def frozen(cls, model: ClipModel, template: str = TEMPLATE, kind: str = NONE) -> "AdaptedClip":
        """Return the model itself; one template gives the texts of its classes."""
        visual = torch.zeros(1, 0, model.architecture.d_model)
        context = torch.zeros(1, 0, text_width(model))
        return cls(kind, ImageSide(model, visual), TextSide(model, template, context))

    @classmethod
    def of_prompts(cls, model: ClipModel, prompts: Prompts) -> "AdaptedClip":
        """Return the frozen model with the current prompts; `take_up` follows a training."""
        spec = prompts.spec
        image = ImageSide(model, prompts.visual_prompts())
        return cls(spec.kind, image, TextSide(model, spec.template, prompts.text_prompts()))

    def take_up(self, prompts: Prompts) -> None:
        """Use the prompts as they are after a step; MaPLe's visual tokens are computed here."""
        self.image.prompts = prompts.visual_prompts().to(self.image.model.device)
        self.text.prompts = prompts.text_prompts().to(self.text.model.device)

    @classmethod
    def load(cls, model: ClipModel, path: Path) -> "AdaptedClip":
        """Return the frozen model with the prompts of a file (`save_prompts`)."""
        return cls.of_prompts(model, load_prompts(path))

    @classmethod
    def of_checkpoint(
        cls, model: ClipModel, source: ModelSource, template: str = TEMPLATE
    ) -> "AdaptedClip":
        """Return a fine-tuned CLIP of the architecture, device and precision of `model`.

        Raises ModelError if the sizes of the image tower differ, because no autoencoder of `model`
        could read it, or if the activation or the preprocessing does: a file of weights names
        neither, so the wrong ones would run without an error.
        """
        precision = str(model.autocast_dtype).removeprefix("torch.")
        tuned = load_clip(source, device=str(model.device), precision=precision)
        name = f"the fine-tuned checkpoint {source.pretrained or source.model!r}"
        if tuned.architecture != model.architecture:
            raise ModelError(
                f"{name} has {tuned.architecture}, but {model.source.model!r} has "
                f"{model.architecture}. An adapted model must be of the same architecture."
            )
        activations = [_activations(one) for one in (tuned, model)]
        if activations[0] != activations[1]:
            raise ModelError(
                f"{name} is run with the activation {activations[0]} of {source.model!r}, but the "
                f"frozen model {model.source.model!r} {model.source.pretrained or ''} has "
                f"{activations[1]}. Give the method a `model` of that activation, e.g. "
                "ViT-B-16-quickgelu for the weights that the tag openai runs under ViT-B-16."
            )
        if (tuned.mean, tuned.std) != (model.mean, model.std):
            raise ModelError(
                f"{name} takes pixels of mean {tuned.mean} and deviation {tuned.std}, but the "
                f"frozen model those of {model.mean} and {model.std}, and both must see the same. "
                "Name as `model` a local-dir whose open_clip_config.json has them as "
                "preprocess_cfg."
            )
        return cls.frozen(tuned, template, kind=CHECKPOINT)

    @property
    def n_prompts(self) -> int:
        """Tokens of the residual stream after CLS and patches."""
        return self.image.n_prompts

    @property
    def device(self) -> torch.device:
        """Device of the image tower."""
        return self.image.model.device

    def normalise(self, images: np.ndarray | Tensor) -> Tensor:
        """See `ClipModel.normalise`: bytes [image, height, width, channel] to pixels."""
        return self.image.model.normalise(images)

    @property
    def logit_scale(self) -> float:
        """Factor of the cosines before the softmax."""
        return self.image.model.logit_scale

    def run_to(self, pixels: Tensor, layers: Sequence[int]) -> dict[int, Tensor]:
        """See `ImageSide.run_to`: {layer: resid_post [image, CLS + patch + prompt, d_model]}."""
        return self.image.run_to(pixels, layers)

    def run_to_pairs(self, pixels: Tensor, wanted: Sequence[Key]) -> dict[Key, Tensor]:
        """Like `run_to`, for (hook, layer) pairs, as extraction needs them."""
        return self.image.run_to_pairs(pixels, wanted)

    def run_from(self, resid_post: Tensor, layer: int) -> Tensor:
        """See `ImageSide.run_from`: image embeddings of unit length [image, d_embed]."""
        return self.image.run_from(resid_post, layer)

    def embed_images(self, pixels: Tensor) -> Tensor:
        """Return embeddings of unit length [image, d_embed] of normalised pixels."""
        return self.image.embed(pixels)

    def class_embeddings(self, names: Sequence[str]) -> Tensor:
        """Return embeddings of unit length [class, d_embed] of the text side."""
        return self.text.class_embeddings(names)


def _activations(model: ClipModel) -> str:
    """Return the names of the activations of the image and text blocks, e.g. "GELU"."""
    mlps = (getattr(block, "mlp", None) for block in model.module.modules())
    found = (type(mlp.gelu).__name__ for mlp in mlps if hasattr(mlp, "gelu"))
    return " and ".join(dict.fromkeys(found))


def combine(*, blocks_of: AdaptedClip, text_of: AdaptedClip) -> AdaptedClip:
    """Return the image side of one model with the text side of another, in one embedding space."""
    sizes = [side.image.model.architecture.d_embed for side in (blocks_of, text_of)]
    if sizes[0] != sizes[1]:
        raise ValueError(f"embeddings of {sizes[0]} and {sizes[1]} numbers cannot be compared.")
    kind = f"blocks of {blocks_of.kind}, text of {text_of.kind}"
    return AdaptedClip(kind, blocks_of.image, text_of.text)
