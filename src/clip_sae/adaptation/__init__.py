"""Adapted CLIPs: learned prompts on frozen towers, or a fine-tuned checkpoint, and their training.

PatchSAE §5: what adaptation changes is read with the same sparse autoencoder before and after, so
an adapted model has the two entries of a frozen one: images to a layer, and from there on.
"""

from clip_sae.adaptation.adapted import AdaptedClip, combine
from clip_sae.adaptation.prompts import KINDS, Prompts, PromptSpec, load_prompts, save_prompts

__all__ = [
    "KINDS",
    "AdaptedClip",
    "PromptSpec",
    "Prompts",
    "combine",
    "load_prompts",
    "save_prompts",
]
