"""Mistakes in `analyses.class_concepts` that the schema cannot express, each as a sentence.

PatchSAE §4.1. The Snakefile imports this module, so it imports no torch.
"""

from collections.abc import Iterator

from clip_sae.planning.mistakes import Checked, counted_mistakes


def mistakes(checked: Checked) -> Iterator[str]:
    """Yield a sentence for each mistake; none if the section is missing."""
    section, where = checked.analyses.get("class_concepts"), "analyses.class_concepts"
    if section is None:
        return
    if section["split"] == "train":
        yield (
            f"{where}.split: latents are ranked on split 'train', so its images cannot be "
            f"classified with them. Name val or test."
        )
    recipe, use = checked.recipe(section["recipe"]), "runs start again from an edited resid_post"
    yield from counted_mistakes(where, section, recipe, checked.model, use)
