"""What a schema cannot say about `analyses.class_concepts`: each mistake as a sentence.

PatchSAE §4.1. Known to the Snakefile, so no torch.
"""

from collections.abc import Iterator

from clip_sae.planning.mistakes import Checked, counted_mistakes


def mistakes(checked: Checked) -> Iterator[str]:
    """Yield a sentence for each mistake; nothing where there is no such block."""
    block, where = checked.analyses.get("class_concepts"), "analyses.class_concepts"
    if block is None:
        return
    if block["split"] == "train":
        yield (
            f"{where}.split: latents are ranked on split 'train', and the same images would be "
            f"classified with them. Name val or test."
        )
    recipe, use = checked.recipe(block["recipe"]), "runs start again from an edited resid_post"
    yield from counted_mistakes(where, block, recipe, checked.model, use)
