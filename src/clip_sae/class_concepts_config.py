"""What a schema cannot say about `analyses.class_concepts`: each mistake as a sentence.

PatchSAE §4.1. Known to the Snakefile, so no torch; `clip_sae.config` asks it.
"""

from collections.abc import Callable, Iterator

from clip_sae.architecture import Architecture
from clip_sae.config_mistakes import counted_mistakes


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
    use = "runs start again from an edited resid_post"
    yield from counted_mistakes(where, block, recipe, model, use)
