"""Sentences about mistakes that several analyses of a config share.

Known to the Snakefile, so no torch; the `*_config` modules ask it.
"""

from collections.abc import Iterator, Mapping, Sequence

from clip_sae.architecture import Architecture

NAMED_TEMPLATES = ("none", "openai80")


def template_mistakes(
    where: str, templates: str | Sequence[str], what: str = "class"
) -> Iterator[str]:
    """Yield a sentence for each prompt that has no place for its `what`, or several."""
    for text in [templates] if isinstance(templates, str) else templates:
        if text not in NAMED_TEMPLATES and text.count("{}") != 1:
            yield (
                f"{where}: {text!r} has no {{}} for the {what}, or several; write "
                f"{', '.join(NAMED_TEMPLATES)} or a text such as 'a photo of a {{}}.'."
            )


def layer_of(block: Mapping, model: Architecture | None) -> int | None:
    """The layer of a block; the last but one, as PatchSAE's, where it names none.

    None where the model's sizes are not known.
    """
    if block["layer"] is None and model is not None:
        return model.n_layers - 2
    return block["layer"]


def layer_mistakes(
    where: str, block: Mapping, recipe: Mapping, model: Architecture | None
) -> Iterator[str]:
    """Yield a sentence if the recipe of a block has no SAE at the block's layer."""
    layer = layer_of(block, model)
    if layer is not None and layer not in recipe["layers"]:
        yield (
            f"{where}.layer: layer {layer} is not among the layers of recipe "
            f"{block['recipe']!r}: {sorted(recipe['layers'])}. (Without a number it is the last "
            f"but one, as the paper's.)"
        )


def counted_mistakes(
    where: str, block: Mapping, recipe: Mapping, model: Architecture | None, use: str
) -> Iterator[str]:
    """Yield a sentence for each reason why a block's latents cannot be ranked by their counts.

    Args:
        use: what is done in resid_post, for the sentence about another hook.
    """
    if recipe["hook"] != "resid_post":
        yield (
            f"{where}.recipe: {block['recipe']!r} reconstructs {recipe['hook']}, and {use}. "
            f"Name a recipe of that hook."
        )
    yield from layer_mistakes(where, block, recipe, model)
    if model is not None and layer_of(block, model) == model.n_layers - 1:
        yield (
            f"{where}.layer: after the last layer, {model.n_layers - 1}, the model reads CLS "
            f"alone, but latents are ranked by their counts over all tokens. Name an earlier layer."
        )
    if recipe.get("tokens") == "cls":
        yield (
            f"{where}.recipe: {block['recipe']!r} was trained on CLS alone, and its latents would "
            f"be ranked by their counts over all tokens. Name a recipe of all tokens."
        )
