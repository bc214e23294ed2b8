"""What a schema cannot say about `analyses.pictures`: each mistake as a sentence.

Steering paper Figs 1, 2, 3 and 10. Known to the Snakefile, so no torch.
"""

from collections.abc import Iterator

from clip_sae.planning.mistakes import Checked


def mistakes(checked: Checked) -> Iterator[str]:
    """Yield a sentence for each mistake; nothing where there is no such block."""
    analyses = checked.analyses
    if "pictures" not in analyses:
        return
    if not {"suppression", "typographic"} & analyses.keys():
        yield (
            "analyses.pictures: it shows what `suppression` and `typographic` take out, and there "
            "is neither. Add one of them, or leave `pictures` out."
        )
        return
    spurious = [*analyses.get("suppression", {}).get("sets", {})]
    pairs = [analyses["typographic"]["pairs"]] if "typographic" in analyses else []
    for key, known in (("names", spurious), ("examples", spurious + pairs)):
        for name in analyses["pictures"][key]:
            if name not in known:
                shown = ", ".join(known) or "none"
                yield f"analyses.pictures.{key}: {name!r} is not a set that is shown: {shown}."
