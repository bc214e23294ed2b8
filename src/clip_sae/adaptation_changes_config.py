"""What a schema cannot say about `analyses.adaptation.changes`: each mistake as a sentence.

PatchSAE §5. Known to the Snakefile, so no torch; `clip_sae.config` asks it.
"""

from collections.abc import Callable, Iterator

from clip_sae.architecture import Architecture
from clip_sae.config_mistakes import counted_mistakes


def adaptation_changes_mistakes(
    config: dict, model: Architecture | None, unknown: Callable[[str, str, str], Iterator[str]]
) -> Iterator[str]:
    """Yield a sentence for each mistake; nothing where there is no such block.

    Args:
        model: sizes of the tower, None where it is not known (its own mistake is told elsewhere).
        unknown: (key, name, section) → a sentence where the name is not in that section.
    """
    block = config["analyses"].get("adaptation", {}).get("changes")
    if block is None:
        return
    where = "analyses.adaptation.changes"
    yield from unknown(f"{where}.recipe", block["recipe"], "saes")
    recipe = config["saes"].get(block["recipe"])
    if recipe is None:
        return
    use = "concepts are exchanged in resid_post"
    yield from counted_mistakes(where, block, recipe, model, use)
