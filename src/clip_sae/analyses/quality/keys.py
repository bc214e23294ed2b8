"""Mistakes in `analyses.quality` that a schema cannot find. No torch: the Snakefile imports this.

PatchSAE §3 and Pach et al. 2025.
"""

from collections.abc import Iterator

from clip_sae.planning.mistakes import Checked, cls_only_mistakes


def mistakes(checked: Checked) -> Iterator[str]:
    """Yield a sentence for each mistake; none if the section is missing."""
    section, where = checked.analyses.get("quality"), "analyses.quality"
    if section is None:
        return
    for key in ("recipes", "seeds"):
        for name in section[key]:
            recipe = checked.recipe(name)
            yield from cls_only_mistakes(f"{where}.{key}", name, recipe)
            wanted = section["layers"] if key == "recipes" else None
            if not set(recipe["layers"]) & set(wanted or recipe["layers"]):
                yield (
                    f"{where}.layers: recipe {name!r} has none of the layers {wanted}; "
                    f"its layers are {sorted(recipe['layers'])}."
                )
            if key == "seeds" and len(checked.variants[name]) < 2:
                yield (
                    f"{where}.seeds: {name!r} trains one SAE per layer, so nothing can be "
                    f"compared. Give it a list of seeds, or name it under `recipes`."
                )
    encoder = section["encoder"]
    if encoder is not None and encoder["name"] == checked.config["model"]["name"]:
        yield (
            f"{where}.encoder.name: {encoder['name']!r} is the name of the model itself. Give the "
            f"second encoder a name of its own."
        )
