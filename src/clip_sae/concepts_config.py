"""What a schema cannot say about `analyses.concepts` and `analyses.quality`, as sentences.

PatchSAE §3. Known to the Snakefile, so no torch; `clip_sae.config` asks it.
"""

from collections.abc import Callable, Iterator

from clip_sae.architecture import Architecture
from clip_sae.config_mistakes import layer_mistakes


def concepts_mistakes(
    config: dict,
    model: Architecture | None,
    unknown: Callable[[str, str, str], Iterator[str]],
    variants: Callable[[dict, str], list[str]],
) -> Iterator[str]:
    """Yield a sentence for each mistake; nothing where there are no such blocks.

    Args:
        model: sizes of the tower, None where it is not known (its own mistake is told elsewhere).
        unknown: (key, name, section) → a sentence where the name is not in that section.
        variants: (config, recipe) → names of the recipe's variants.
    """
    yield from _concepts(config, model, unknown)
    yield from _quality(config, unknown, variants)


def _concepts(config: dict, model: Architecture | None, unknown) -> Iterator[str]:
    block = config["analyses"].get("concepts")
    if block is None:
        return
    yield from unknown("analyses.concepts.dataset", block["dataset"], "datasets")
    yield from unknown("analyses.concepts.recipe", block["recipe"], "saes")
    if block["recipe"] not in config["saes"]:
        return
    yield from _cls_only(config, "analyses.concepts.recipe", block["recipe"])
    recipe = config["saes"][block["recipe"]]
    yield from layer_mistakes("analyses.concepts", block, recipe, model)
    masks = block["masks"]
    if masks is not None and masks["split"] == block["split"]:
        yield (
            f"analyses.concepts.masks.split: units are chosen on split {block['split']!r} and "
            f"would be scored on the same images. Name another split for one of them."
        )


def _quality(config: dict, unknown, variants) -> Iterator[str]:
    block = config["analyses"].get("quality")
    if block is None:
        return
    where = "analyses.quality"
    yield from unknown(f"{where}.dataset", block["dataset"], "datasets")
    for key in ("recipes", "seeds"):
        for name in block[key]:
            yield from unknown(f"{where}.{key}", name, "saes")
            recipe = config["saes"].get(name)
            if recipe is None:
                continue
            yield from _cls_only(config, f"{where}.{key}", name)
            wanted = block["layers"] if key == "recipes" else None
            if not set(recipe["layers"]) & set(wanted or recipe["layers"]):
                yield (
                    f"{where}.layers: recipe {name!r} has none of the layers {wanted}; "
                    f"its layers are {sorted(recipe['layers'])}."
                )
            if key == "seeds" and len(variants(config, name)) < 2:
                yield (
                    f"{where}.seeds: {name!r} trains one SAE per layer, so nothing can be "
                    f"compared. Give it a list of seeds, or name it under `recipes`."
                )
    encoder = block["encoder"]
    if encoder is not None and encoder["name"] == config["model"]["name"]:
        yield (
            f"{where}.encoder.name: {encoder['name']!r} is the name of the model itself. Give the "
            f"second encoder a name of its own."
        )


def _cls_only(config: dict, where: str, name: str) -> Iterator[str]:
    if config["saes"][name].get("tokens") == "cls":
        yield (
            f"{where}: {name!r} was trained on CLS alone, and a latent's value on an image is its "
            f"mean over all tokens. Name a recipe of all tokens."
        )
