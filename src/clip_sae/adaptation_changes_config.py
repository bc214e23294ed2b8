"""What a schema cannot say about `analyses.adaptation.changes`: each mistake as a sentence.

PatchSAE §5. Known to the Snakefile, so no torch; `clip_sae.config` asks it.
"""

from collections.abc import Callable, Iterator

from clip_sae.architecture import Architecture


def adaptation_changes_mistakes(
    config: dict, model: Architecture | None, unknown: Callable[[str, str, str], Iterator[str]]
) -> Iterator[str]:
    """Yield a sentence for each mistake; nothing where there is no such block.

    Args:
        model: sizes of the tower, None where it is not known (its own mistake is told elsewhere).
        unknown: (key, name, section) → a sentence where the name is not in that section.
    """
    block = config["analyses"].get("adaptation", {}).get("changes")
    if block is None:
        return
    where = "analyses.adaptation.changes"
    yield from unknown(f"{where}.recipe", block["recipe"], "saes")
    recipe = config["saes"].get(block["recipe"])
    if recipe is None:
        return
    if recipe["hook"] != "resid_post":
        yield (
            f"{where}.recipe: {block['recipe']!r} reconstructs {recipe['hook']}, and concepts are "
            f"exchanged in resid_post. Name a recipe of that hook."
        )
    layer = block["layer"]
    if layer is None and model is not None:
        layer = model.n_layers - 2
    if layer is not None and layer not in recipe["layers"]:
        yield (
            f"{where}.layer: layer {layer} is not among the layers of recipe "
            f"{block['recipe']!r}: {sorted(recipe['layers'])}. (Without a number it is the last "
            f"but one, as the paper's.)"
        )
    if layer is not None and model is not None and layer == model.n_layers - 1:
        yield (
            f"{where}.layer: after the last layer, {layer}, the model reads CLS alone, but latents "
            f"are ranked by their counts over all tokens. Name an earlier layer."
        )
    if recipe.get("tokens") == "cls":
        yield (
            f"{where}.recipe: {block['recipe']!r} was trained on CLS alone, and its latents would "
            f"be ranked by their counts over all tokens. Name a recipe of all tokens."
        )
