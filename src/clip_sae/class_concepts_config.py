"""What a schema cannot say about `analyses.class_concepts`: each mistake as a sentence.

PatchSAE §4.1. Known to the Snakefile, so no torch; `clip_sae.config` asks it.
"""

from collections.abc import Callable, Iterator

from clip_sae.architecture import Architecture


def class_concepts_mistakes(
    config: dict, model: Architecture | None, unknown: Callable[[str, str, str], Iterator[str]]
) -> Iterator[str]:
    """Yield a sentence for each mistake; nothing where there is no such block.

    Args:
        model: sizes of the tower, None where it is not known (its own mistake is told elsewhere).
        unknown: (key, name, section) → a sentence where the name is not in that section.
    """
    block = config["analyses"].get("class_concepts")
    if block is None:
        return
    where = "analyses.class_concepts"
    yield from unknown(f"{where}.dataset", block["dataset"], "datasets")
    yield from unknown(f"{where}.recipe", block["recipe"], "saes")
    if block["split"] == "train":
        yield (
            f"{where}.split: latents are ranked on split 'train', and the same images would be "
            f"classified with them. Name val or test."
        )
    recipe = config["saes"].get(block["recipe"])
    if recipe is None:
        return
    if recipe["hook"] != "resid_post":
        yield (
            f"{where}.recipe: {block['recipe']!r} reconstructs {recipe['hook']}, "
            f"and runs start again from an edited resid_post. Name a recipe of that hook."
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
