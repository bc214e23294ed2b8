"""Schedules: the factors on `lr` and on the sparsity term at every optimiser step.

Steering paper App. 10: cosine with a 200-step warm-up.
"""

from __future__ import annotations

import math

from clip_sae.planning.recipes import SaeRecipe


def lr_factor(recipe: SaeRecipe, step: int, total_steps: int) -> float:
    """Return the factor on `recipe.lr` at `step` (from 0) of `total_steps`.

    Warm-up is linear and reaches 1 at its last step. `cosine` then falls to `final_factor`.
    A warm-up longer than the training never ends, as in the paper's code.
    """
    if step < recipe.warmup_steps:
        return (step + 1) / recipe.warmup_steps
    if recipe.lr_schedule == "constant":
        return 1.0
    progress = (step - recipe.warmup_steps) / max(total_steps - recipe.warmup_steps, 1)
    floor = final_factor(recipe)
    return floor + 0.5 * (1 - floor) * (1 + math.cos(math.pi * progress))


def pressure(recipe: SaeRecipe, step: int) -> float:
    """Return the factor on the sparsity term at `step` (from 0): a linear warm-up to 1."""
    if step < recipe.sparsity_warmup_steps:
        return (step + 1) / recipe.sparsity_warmup_steps
    return 1.0


def final_factor(recipe: SaeRecipe) -> float:
    """The factor that the cosine falls to."""
    if recipe.form == "prisma_compat":
        # The paper's code passes lr / 10 as the end value, where a factor is expected.
        return recipe.lr / 10
    # ASSUME: the paper does not say where the cosine ends; the standard form ends at zero.
    return 0.0
