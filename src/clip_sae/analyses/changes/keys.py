"""What a schema cannot say about `analyses.adaptation.changes`: each mistake as a sentence.

PatchSAE §5. Known to the Snakefile, so no torch.
"""

from collections.abc import Iterator

from clip_sae.planning.mistakes import Checked, counted_mistakes


def mistakes(checked: Checked) -> Iterator[str]:
    """Yield a sentence for each mistake; nothing where there is no such block."""
    block = checked.analyses.get("adaptation", {}).get("changes")
    if block is not None:
        recipe, use = checked.recipe(block["recipe"]), "concepts are exchanged in resid_post"
        where = "analyses.adaptation.changes"
        yield from counted_mistakes(where, block, recipe, checked.model, use)
