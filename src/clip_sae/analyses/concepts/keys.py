"""What a schema cannot say about `analyses.concepts`, as sentences.

PatchSAE §3. Known to the Snakefile, so no torch.
"""

from collections.abc import Iterator

from clip_sae.planning.mistakes import Checked, cls_only_mistakes, layer_mistakes


def mistakes(checked: Checked) -> Iterator[str]:
    """Yield a sentence for each mistake; nothing where there is no such block."""
    block, where = checked.analyses.get("concepts"), "analyses.concepts"
    if block is None:
        return
    recipe, masks = checked.recipe(block["recipe"]), block["masks"]
    yield from cls_only_mistakes(f"{where}.recipe", block["recipe"], recipe)
    yield from layer_mistakes(where, block, recipe, checked.model)
    if masks is not None and masks["split"] == block["split"]:
        yield (
            f"{where}.masks.split: units are chosen on split {block['split']!r} and "
            f"would be scored on the same images. Name another split for one of them."
        )
