"""Exchange the concepts of a frozen and an adapted model at one layer.

PatchSAE §5. With x⁰, f⁰ of the frozen and x¹, f¹ of the adapted model,
old concepts under the new map:  x¹ + σ(x¹) Σ_j (f⁰_j − f¹_j) n_j, run on by the adapted model;
new concepts under the old map:  x⁰ + σ(x⁰) Σ_j (f¹_j − f⁰_j) n_j, run on by the frozen model.
The SAE's error stays that of the model that runs on, and so do prompts: no latents of the frozen
model stand at their places.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from clip_sae.sae import Sae

# Where the tokens that the later blocks read come from; a control has a number behind it.
OWN, CONCEPTS, RESIDUAL = "own", "concepts", "residual"
RANDOM, RANDOM_MOVE = "random", "random_move"


@dataclass(frozen=True)
class Exchanged:
    """Both models' tokens of one batch at the SAE's layer.

    Attributes:
        frozen: {source: [image, CLS + patch, d_model]} for the frozen later blocks.
        adapted: {source: [image, CLS + patch + prompt, d_model]} for the adapted ones.
        before, after: [image, CLS + patch, latent] f⁰ and f¹.

    The sources: OWN (the model's own tokens), CONCEPTS (the other model's latents, as above),
    RESIDUAL (the other model's tokens whole, its SAE error with them), RANDOM0, RANDOM1, … (as
    CONCEPTS, but each latent's change is made to another alive latent) and RANDOM_MOVE0, … (the
    same, scaled so that each token moves as far as under CONCEPTS). Changes of equal size do not
    move a token equally far: latents that change together have directions in common, and under
    RANDOM a token moves less far (in the demo 0.61 to 0.68 times as far).
    """

    frozen: dict[str, Tensor]
    adapted: dict[str, Tensor]
    before: Tensor
    after: Tensor


def exchange(sae: Sae, x0: Tensor, x1: Tensor, permutations: list[np.ndarray]) -> Exchanged:
    """Return the tokens of both models with the other's concepts.

    Args:
        x0: [image, CLS + patch, d_model] the frozen model's residual.
        x1: [image, CLS + patch + prompt, d_model] the adapted model's.
        permutations: [latent] of each control: what latent j changes by is added to this one.

    Where f¹ = f⁰ every CONCEPTS, RANDOM and RANDOM_MOVE equals OWN, bit for bit.
    """
    n_tokens = x0.shape[1]
    if x1.shape[1] < n_tokens or x1.shape[::2] != x0.shape[::2]:
        raise ValueError(
            f"the adapted residual {list(x1.shape)} must hold the frozen one's {list(x0.shape)} "
            "tokens [image, token, d_model] first, then its prompts. Give both of one batch."
        )
    own1, prompts = x1[:, :n_tokens], x1[:, n_tokens:]
    before, after = sae.encode(x0).latents, sae.encode(own1).latents
    change = after - before  # [image token latent]
    scale0, scale1 = sae.token_scale(x0), sae.token_scale(own1)
    moves = {CONCEPTS: change @ sae.W_dec}  # [image token d_model], in units of token_scale
    length = moves[CONCEPTS].norm(dim=-1, keepdim=True)
    for i, permutation in enumerate(permutations):
        at = torch.as_tensor(permutation, device=sae.W_dec.device)
        moves[f"{RANDOM}{i}"] = other = change @ sae.W_dec[at]
        own_length = other.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(other.dtype).tiny)
        moves[f"{RANDOM_MOVE}{i}"] = other / own_length * length
    frozen, adapted = {OWN: x0, RESIDUAL: own1}, {OWN: x1, RESIDUAL: torch.cat([x0, prompts], 1)}
    for source, moved in moves.items():
        if not change.any():  # text alone was adapted: nothing has to run again
            frozen[source], adapted[source] = x0, x1
            continue
        frozen[source] = x0 + scale0 * moved
        adapted[source] = torch.cat([own1 - scale1 * moved, prompts], dim=1)
    return Exchanged(frozen, adapted, before, after)


def random_permutations(alive: np.ndarray, seeds: int, seed: int = 0) -> list[np.ndarray]:
    """Return [latent] per draw: alive latents change places among themselves, dead ones stay."""
    at = np.flatnonzero(alive)
    found = []
    for draw in range(seeds):
        permutation = np.arange(len(alive))
        permutation[at] = np.random.default_rng([seed, draw]).permutation(at)
        found.append(permutation)
    return found
