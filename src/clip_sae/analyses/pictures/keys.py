"""Mistakes in `analyses.pictures` that a schema cannot find. No torch: the Snakefile imports this.

Steering paper Figs 1, 2, 3 and 10.
"""

from collections.abc import Iterator

from clip_sae.planning.mistakes import Checked


def mistakes(checked: Checked) -> Iterator[str]:
    """Yield a sentence for each mistake; none if the section is missing."""
    analyses = checked.analyses
    if "pictures" not in analyses:
        return
    if not {"suppression", "typographic"} & analyses.keys():
        yield (
            "analyses.pictures: pictures show the sets of `suppression` and `typographic`, and the "
            "config has neither. Add one of them, or leave `pictures` out."
        )
        return
    spurious = [*analyses.get("suppression", {}).get("sets", {})]
    pairs = [analyses["typographic"]["pairs"]] if "typographic" in analyses else []
    for key, known in (("names", spurious), ("examples", spurious + pairs)):
        for name in analyses["pictures"][key]:
            if name not in known:
                shown = ", ".join(known) or "none"
                yield f"analyses.pictures.{key}: {name!r} is not one of the shown sets: {shown}."
