"""Adapted CLIPs: learned prompts on frozen towers, or a fine-tuned checkpoint, and their training.

PatchSAE §5 reads a model before and after its adaptation with the same sparse autoencoder, so an
adapted model has the two entries of a frozen one: images to a layer, and a layer to embeddings.
"""

from clip_sae.adaptation.adapted import AdaptedClip, combine
from clip_sae.adaptation.prompts import Prompts, PromptSpec, load_prompts, save_prompts

__all__ = [
    "AdaptedClip",
    "PromptSpec",
    "Prompts",
    "combine",
    "load_prompts",
    "save_prompts",
]
