"""Mistakes in `analyses.concepts` that a schema cannot find. No torch: the Snakefile imports this.

PatchSAE §3.
"""

from collections.abc import Iterator

from clip_sae.planning.mistakes import Checked, cls_only_mistakes, layer_mistakes


def mistakes(checked: Checked) -> Iterator[str]:
    """Yield a sentence for each mistake; none if the section is missing."""
    section, where = checked.analyses.get("concepts"), "analyses.concepts"
    if section is None:
        return
    recipe, masks = checked.recipe(section["recipe"]), section["masks"]
    yield from cls_only_mistakes(f"{where}.recipe", section["recipe"], recipe)
    yield from layer_mistakes(where, section, recipe, checked.model)
    if masks is not None and masks["split"] == section["split"]:
        yield (
            f"{where}.masks.split: units are chosen on split {section['split']!r} and "
            f"would be scored on the same images. Name another split for one of them."
        )
