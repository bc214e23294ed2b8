"""Mistakes in `analyses.typographic` that a schema cannot express, each as a sentence.

Steering paper §7.2. The Snakefile imports this, so no torch.
"""

from collections.abc import Iterator

from clip_sae.planning.mistakes import Checked, template_mistakes

PAIRS = "attacked_pairs"


def mistakes(checked: Checked) -> Iterator[str]:
    """Yield a sentence for each mistake; none if the section is missing."""
    section = checked.analyses.get("typographic")
    if section is None:
        return
    where = "analyses.typographic"
    yield from _pairs_mistakes(checked, section["pairs"])
    if section["thresholds"]["low"] >= section["thresholds"]["high"]:
        low, high = section["thresholds"]["low"], section["thresholds"]["high"]
        yield f"{where}.thresholds: low ({low}) must be below high ({high})."
    for name in section["recipes"]:
        yield from _recipe_mistakes(checked, name)
    yield from template_mistakes(f"{where}.template", section["template"])
    for name, entry in section["sets"].items():
        if entry["template"] is not None:
            yield from template_mistakes(f"{where}.sets.{name}.template", entry["template"])


def _pairs_mistakes(checked: Checked, name: str) -> Iterator[str]:
    section = checked.config["datasets"][name]
    attack = section["attack"]
    if section["kind"] != PAIRS:
        yield (
            f"analyses.typographic.pairs: {name!r} is of kind {section['kind']!r}; name a data set "
            f"of kind {PAIRS}, which `attack` makes of another one."
        )
    elif attack is not None and not {"train", "val"} <= attack["splits"].keys():
        found = ", ".join(attack["splits"])
        yield (
            f"datasets.{name}.attack.splits: latents are found on `train` and thresholds chosen "
            f"on `val`, but only {found} is copied."
        )


def _recipe_mistakes(checked: Checked, name: str) -> Iterator[str]:
    recipe, model = checked.recipe(name), checked.model
    where = f"analyses.typographic.recipes: {name!r}"
    if recipe["hook"] != "resid_post":
        yield f"{where} reconstructs {recipe['hook']}; the defence edits resid_post."
    if model is not None and model.n_layers - 1 not in recipe["layers"]:
        yield (
            f"{where} has no SAE of the last layer, {model.n_layers - 1}; its layers are "
            f"{recipe['layers']}."
        )
