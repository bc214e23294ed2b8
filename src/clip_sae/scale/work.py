"""The size of each thing: bytes of a store and of an SAE, FLOPs of a forward pass and a training.

A multiplication and an addition are two FLOPs. Attention's softmax, norms and activations are left
out: below a hundredth of a CLIP tower. Steering paper §3.1 (tower), Eq. 3 (SAE).
"""

from collections.abc import Mapping
from math import ceil

from clip_sae.planning.architecture import Architecture
from clip_sae.planning.recipes import SaeRecipe
from clip_sae.store import StoreLayout

MLP_RATIO = 4  # width of the MLP over that of the residual in every CLIP image tower
FLOAT32_BYTES = 4


def store_bytes(n_images: int, sizes: Architecture, block: Mapping, n_prompts: int = 0) -> int:
    """Bytes of all shard files of one store, uncompressed, as it will be laid out.

    Args:
        block: `activations` of the config. Records beside the shards (one line of JSON per range,
            8 bytes per image) are not counted: under a thousandth.
    """
    if not n_images:
        return 0
    return StoreLayout.choose(
        n_images,
        sizes.n_patches,
        sizes.d_model,
        block["dtype"],
        chunk_mb=block["chunk_mb"],
        min_shards=block["min_shards"],
        n_prompts=n_prompts,
        compression=block["compression"],
    ).nbytes


def block_flops(sizes: Architecture) -> int:
    """FLOPs of one block of the tower for one image: 4 projections, 2 MLP matrices, attention."""
    tokens, width = sizes.n_tokens, sizes.d_model
    return tokens * (2 * (4 + 2 * MLP_RATIO) * width**2 + 4 * tokens * width)


def forward_flops(sizes: Architecture, n_layers: int) -> int:
    """FLOPs of one image from its pixels through the first `n_layers` blocks."""
    patches = 2 * sizes.n_patches * 3 * sizes.patch_size**2 * sizes.d_model
    return patches + n_layers * block_flops(sizes)


def tokens_per_image(sizes: Architecture, tokens: str) -> int:
    """Tokens of an image that a recipe's `tokens` (all, cls, patch) stands for."""
    return {"all": sizes.n_tokens, "cls": 1, "patch": sizes.n_patches}[tokens]


def training_tokens(recipe: SaeRecipe, n_images: int, sizes: Architecture) -> int:
    """Tokens that an SAE of `recipe` sees; the last batch of an epoch has what is left of it."""
    a_pass = n_images * tokens_per_image(sizes, recipe.tokens)
    if not a_pass:
        return 0
    batches = ceil(a_pass / recipe.batch_tokens)
    epochs, rest = divmod(recipe.total_steps(batches), batches)
    return epochs * a_pass + min(rest * recipe.batch_tokens, a_pass)


def encode_flops(recipe: SaeRecipe, sizes: Architecture) -> int:
    """FLOPs of a token's latents: one matrix of d_model x d_sae."""
    return 2 * sizes.d_model * recipe.d_sae(sizes.d_model)


def training_flops(recipe: SaeRecipe, n_images: int, sizes: Architecture) -> int:
    """FLOPs of a training: 6 x tokens x 2 x d_model x d_sae.

    Two matrices, forward and twice backward. TopK kinds compute less, since they skip latents that
    are off; the rate of earlier trainings, where there are any, has that in it.
    """
    return 6 * training_tokens(recipe, n_images, sizes) * encode_flops(recipe, sizes)


def sae_bytes(recipe: SaeRecipe, sizes: Architecture) -> int:
    """Bytes of an SAE's weights, float32: two matrices and two biases."""
    width, latents = sizes.d_model, recipe.d_sae(sizes.d_model)
    return FLOAT32_BYTES * (2 * width * latents + latents + width)
