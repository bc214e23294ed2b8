"""Mistakes in `analyses.steering` that the schema cannot express, each as a sentence.

Steering paper §6. The Snakefile imports this module, so it imports no torch.
"""

from collections.abc import Iterator

from clip_sae.planning.architecture import Architecture
from clip_sae.planning.mistakes import Checked, template_mistakes


def mistakes(checked: Checked) -> Iterator[str]:
    """Yield a sentence for each mistake; nothing without the section."""
    section = checked.analyses.get("steering")
    if section is None:
        return
    yield from _strength_mistakes(section)
    yield from template_mistakes("analyses.steering.template", section["template"], "word")
    yield from _recipe_mistakes(section, checked.recipe(section["recipe"]), checked.model)


def _strength_mistakes(section: dict) -> Iterator[str]:
    strengths = section["strengths"]
    if strengths != sorted(strengths):
        yield f"analyses.steering.strengths: write them in ascending order; found {strengths}."
    if section["strength"] not in strengths:
        yield (
            f"analyses.steering.strengths: {strengths} lacks the strength {section['strength']} at "
            f"which every unit is measured; add it, half-saturation is half of its value."
        )


def _recipe_mistakes(section: dict, recipe: dict, model: Architecture | None) -> Iterator[str]:
    if recipe["hook"] != "resid_post":
        yield (
            f"analyses.steering.recipe: {section['recipe']!r} reconstructs {recipe['hook']}, and "
            f"steering edits resid_post. Name a recipe of that hook."
        )
    traced = section["traced"]
    if traced is None:
        return
    if traced["layer"] not in recipe["layers"]:
        yield (
            f"analyses.steering.traced.layer: layer {traced['layer']} is not among the layers of "
            f"recipe {section['recipe']!r}: {recipe['layers']}."
        )
    factor = recipe["expansion_factor"]
    if model is not None:
        # The first variant is steered.
        d_sae = (factor[0] if isinstance(factor, list) else factor) * model.d_model
        if odd := [unit for unit in traced["units"] if unit >= d_sae]:
            yield (
                f"analyses.steering.traced.units: latents {odd} do not exist; recipe "
                f"{section['recipe']!r} has {d_sae}, numbered 0 to {d_sae - 1}."
            )
