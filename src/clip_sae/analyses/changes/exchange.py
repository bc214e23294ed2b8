"""Exchange the concepts of a frozen and an adapted model at one layer.

PatchSAE §5. With x⁰, f⁰ of the frozen and x¹, f¹ of the adapted model,
old concepts under the new map:  x¹ + σ(x¹) Σ_j (f⁰_j − f¹_j) n_j, run on by the adapted model;
new concepts under the old map:  x⁰ + σ(x⁰) Σ_j (f¹_j − f⁰_j) n_j, run on by the frozen model.
The SAE's error and the prompts stay those of the model that runs on: the frozen model has no
latents at prompts.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from clip_sae.analyses.shared.edits import EncodedTokens, moved
from clip_sae.sae import Sae

# Sources of the tokens that the later blocks read; names of controls end in a number.
OWN, CONCEPTS, RESIDUAL = "own", "concepts", "residual"
RANDOM, RANDOM_MOVE = "random", "random_move"


@dataclass(frozen=True)
class Exchanged:
    """Both models' tokens of one batch at the SAE's layer.

    Attributes:
        frozen: {source: [image, CLS + patch, d_model]} for the frozen later blocks.
        adapted: {source: [image, CLS + patch + prompt, d_model]} for the adapted ones.

    The sources: OWN (the model's own tokens), CONCEPTS (the other model's latents, as above),
    RESIDUAL (the other model's whole tokens, including the SAE's error), RANDOM0, RANDOM1, … (as
    CONCEPTS, but another alive latent takes each latent's change) and RANDOM_MOVE0, … (the same,
    scaled so that each token moves as far as under CONCEPTS). RANDOM alone moves a token less far
    (in the demo 0.61 to 0.68 times as far), as latents that change together share directions.
    """

    frozen: dict[str, Tensor]
    adapted: dict[str, Tensor]


def exchange(sae: Sae, x0: Tensor, x1: Tensor, permutations: list[np.ndarray]) -> Exchanged:
    """Return the tokens of both models with the other's concepts.

    Args:
        x0: [image, CLS + patch, d_model] the frozen model's residual.
        x1: [image, CLS + patch + prompt, d_model] the adapted model's.
        permutations: [latent] of each control: the latent that takes the change of latent j.

    If f¹ = f⁰, every CONCEPTS, RANDOM and RANDOM_MOVE equals OWN, bit for bit.
    """
    n_tokens = x0.shape[1]
    if x1.shape[1] < n_tokens or x1.shape[::2] != x0.shape[::2]:
        raise ValueError(
            f"the adapted residual {list(x1.shape)} must hold the frozen one's {list(x0.shape)} "
            "tokens [image, token, d_model] first, then its prompts. Give both of one batch."
        )
    own1, prompts = x1[:, :n_tokens], x1[:, n_tokens:]
    tokens0, tokens1 = EncodedTokens(sae, x0), EncodedTokens(sae, own1)
    change = tokens1.latents - tokens0.latents  # [image token latent]
    moves = {CONCEPTS: tokens0.move(slice(None), tokens1.latents)}  # [image token d_model]
    length = moves[CONCEPTS].norm(dim=-1, keepdim=True)
    for i, permutation in enumerate(permutations):
        at = torch.as_tensor(permutation, device=sae.W_dec.device)
        moves[f"{RANDOM}{i}"] = other = change @ sae.W_dec[at]
        own_length = other.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(other.dtype).tiny)
        moves[f"{RANDOM_MOVE}{i}"] = other / own_length * length
    frozen, adapted = {OWN: x0, RESIDUAL: own1}, {OWN: x1, RESIDUAL: torch.cat([x0, prompts], 1)}
    for source, move in moves.items():
        if not change.any():  # text alone was adapted: no later block has to run again
            frozen[source], adapted[source] = x0, x1
            continue
        frozen[source] = moved(x0, tokens0.scale, move)
        adapted[source] = torch.cat([moved(own1, tokens1.scale, -move), prompts], dim=1)
    return Exchanged(frozen, adapted)


def random_permutations(alive: np.ndarray, seeds: int, seed: int = 0) -> list[np.ndarray]:
    """Return [latent] per draw: alive latents are permuted among themselves, dead ones stay."""
    at = np.flatnonzero(alive)
    found = []
    for draw in range(seeds):
        permutation = np.arange(len(alive))
        permutation[at] = np.random.default_rng([seed, draw]).permutation(at)
        found.append(permutation)
    return found
