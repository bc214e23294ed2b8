"""Mistakes in `analyses.adaptation.changes` that the schema cannot express, each as a sentence.

PatchSAE §5. The Snakefile imports this module, so it imports no torch.
"""

from collections.abc import Iterator

from clip_sae.planning.mistakes import Checked, counted_mistakes


def mistakes(checked: Checked) -> Iterator[str]:
    """Yield a sentence for each mistake; none if the section is missing."""
    section = checked.analyses.get("adaptation", {}).get("changes")
    if section is not None:
        recipe, use = checked.recipe(section["recipe"]), "concepts are exchanged in resid_post"
        where = "analyses.adaptation.changes"
        yield from counted_mistakes(where, section, recipe, checked.model, use)
