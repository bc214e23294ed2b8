"""What a schema cannot say about `analyses.steering`: each mistake as a sentence.

Steering paper §6. Known to the Snakefile, so no torch; `clip_sae.config` asks it.
"""

from collections.abc import Callable, Iterator

from clip_sae.architecture import Architecture
from clip_sae.config_mistakes import template_mistakes


def steering_mistakes(
    config: dict, model: Architecture | None, unknown: Callable[[str, str, str], Iterator[str]]
) -> Iterator[str]:
    """Yield a sentence for each mistake; nothing where there is no such block.

    Args:
        model: sizes of the tower, None where it is not known (its own mistake is told elsewhere).
        unknown: (key, name, section) → a sentence where the name is not in that section.
    """
    block = config["analyses"].get("steering")
    if block is None:
        return
    yield from unknown("analyses.steering.dataset", block["dataset"], "datasets")
    yield from unknown("analyses.steering.recipe", block["recipe"], "saes")
    yield from _strength_mistakes(block)
    yield from template_mistakes("analyses.steering.template", block["template"], "word")
    recipe = config["saes"].get(block["recipe"])
    if recipe is not None:
        yield from _recipe_mistakes(block, recipe, model)


def _strength_mistakes(block: dict) -> Iterator[str]:
    strengths = block["strengths"]
    if strengths != sorted(strengths):
        yield f"analyses.steering.strengths: write them in ascending order; found {strengths}."
    if block["strength"] not in strengths:
        yield (
            f"analyses.steering.strengths: {strengths} lacks the strength {block['strength']} at "
            f"which every unit is measured; add it, half-saturation is half of its value."
        )


def _recipe_mistakes(block: dict, recipe: dict, model: Architecture | None) -> Iterator[str]:
    if recipe["hook"] != "resid_post":
        yield (
            f"analyses.steering.recipe: {block['recipe']!r} reconstructs {recipe['hook']}, and "
            f"steering edits resid_post. Name a recipe of that hook."
        )
    traced = block["traced"]
    if traced is None:
        return
    if traced["layer"] not in recipe["layers"]:
        yield (
            f"analyses.steering.traced.layer: layer {traced['layer']} is not among the layers of "
            f"recipe {block['recipe']!r}: {recipe['layers']}."
        )
    factor = recipe["expansion_factor"]
    if model is not None:
        # The first variant is steered.
        d_sae = (factor[0] if isinstance(factor, list) else factor) * model.d_model
        if odd := [unit for unit in traced["units"] if unit >= d_sae]:
            yield (
                f"analyses.steering.traced.units: latents {odd} do not exist; recipe "
                f"{block['recipe']!r} has {d_sae}, numbered 0 to {d_sae - 1}."
            )
