"""The architectures by name. Steering paper Eq. 3 and the papers named in each module."""

from __future__ import annotations

from clip_sae.planning.recipes import SaeRecipe
from clip_sae.training.gated import Gated
from clip_sae.training.jumprelu import JumpRelu
from clip_sae.training.matryoshka import Matryoshka
from clip_sae.training.method import Method
from clip_sae.training.parallel import Replicas
from clip_sae.training.topk import BatchTopK, TopK
from clip_sae.training.vanilla import Vanilla
from clip_sae.training.workspace import Workspace


def make_method(recipe: SaeRecipe, d_sae: int, workspace: Workspace, replicas: Replicas) -> Method:
    """Return how a recipe's architecture is trained."""
    match recipe.architecture:
        case "vanilla":
            free = recipe.decoder_norm == "free"
            return Vanilla(recipe.l1_coefficient, free_norm=free, workspace=workspace)
        case "topk":
            return TopK(recipe.k, workspace)
        case "batchtopk":
            return BatchTopK(recipe.k, workspace, replicas)
        case "matryoshka":
            return Matryoshka(recipe.k, recipe.prefix_latents(d_sae), workspace, replicas)
        case "jumprelu":
            return JumpRelu(recipe, workspace, replicas)
        case "gated":
            return Gated(recipe.l1_coefficient, workspace)
    raise ValueError(f"unknown SAE architecture {recipe.architecture!r}.")
