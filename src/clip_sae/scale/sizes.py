"""Exact sizes: bytes of a store and of an SAE, tokens of a training, bytes on disk at peak."""

import shutil
from collections.abc import Iterable, Mapping
from math import ceil
from pathlib import Path

from clip_sae.planning.architecture import Architecture
from clip_sae.planning.recipes import SaeRecipe
from clip_sae.planning.turns import Turn
from clip_sae.store import StoreLayout

FLOAT32_BYTES = 4


def store_bytes(n_images: int, sizes: Architecture, section: Mapping, n_prompts: int = 0) -> int:
    """Return the bytes of all shard files of one store, uncompressed, as it will be laid out.

    Args:
        section: `activations` of the config. Records next to the shards (one line of JSON per
            range, 8 bytes per image) are not counted: under a thousandth.
    """
    if not n_images:
        return 0
    return StoreLayout.choose(
        n_images,
        sizes.n_patches,
        sizes.d_model,
        section["dtype"],
        chunk_mb=section["chunk_mb"],
        min_shards=section["min_shards"],
        n_prompts=n_prompts,
        compression=section["compression"],
    ).nbytes


def tokens_per_image(sizes: Architecture, tokens: str) -> int:
    """Return the tokens of an image that a recipe's `tokens` (all, cls, patch) stands for."""
    return {"all": sizes.n_tokens, "cls": 1, "patch": sizes.n_patches}[tokens]


def training_tokens(recipe: SaeRecipe, n_images: int, sizes: Architecture) -> int:
    """Return the tokens that an SAE of `recipe` sees; the last batch of an epoch can be smaller."""
    a_pass = n_images * tokens_per_image(sizes, recipe.tokens)
    if not a_pass:
        return 0
    batches = ceil(a_pass / recipe.batch_tokens)
    epochs, rest = divmod(recipe.total_steps(batches), batches)
    return epochs * a_pass + min(rest * recipe.batch_tokens, a_pass)


def matrix_size(recipe: SaeRecipe, sizes: Architecture) -> int:
    """Return the entries of an encoder's matrix, d_model x d_sae."""
    return sizes.d_model * recipe.d_sae(sizes.d_model)


def sae_bytes(recipe: SaeRecipe, sizes: Architecture) -> int:
    """Return the bytes of an SAE's weights, float32: two matrices and two biases."""
    biases = recipe.d_sae(sizes.d_model) + sizes.d_model
    return FLOAT32_BYTES * (2 * matrix_size(recipe, sizes) + biases)


def free_bytes(folder: Path) -> int:
    """Return the free bytes of the file system of `folder`, which need not exist yet."""
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    return shutil.disk_usage(existing).free


def peak_of_turns(sizes: Mapping[str, int], where: Mapping, cut: Iterable[Turn]) -> int:
    """Return the sum over splits of the largest turn: splits do not wait for each other.

    Args:
        sizes: {store: bytes} of the stores to be made. where: {store: ((data set, split), layer)}.
        cut: the turns of all splits.
    """
    largest: dict[tuple[str, str], int] = {}
    for turn in cut:
        together = sum(
            size
            for store, size in sizes.items()
            if where[store][0] == turn.split and where[store][1] in turn.layers
        )
        largest[turn.split] = max(largest.get(turn.split, 0), together)
    return sum(largest.values())
