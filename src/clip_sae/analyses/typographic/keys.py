"""What a schema cannot say about `analyses.typographic`: mistakes as sentences.

Steering paper §7.2. Known to the Snakefile, so no torch.
"""

from collections.abc import Iterator

from clip_sae.planning.mistakes import Checked, template_mistakes

PAIRS = "attacked_pairs"


def mistakes(checked: Checked) -> Iterator[str]:
    """Yield a sentence for each mistake; nothing where there is no such block."""
    block = checked.analyses.get("typographic")
    if block is None:
        return
    where = "analyses.typographic"
    yield from _pairs_mistakes(checked, block["pairs"])
    if block["thresholds"]["low"] >= block["thresholds"]["high"]:
        low, high = block["thresholds"]["low"], block["thresholds"]["high"]
        yield f"{where}.thresholds: low ({low}) must be below high ({high})."
    for name in block["recipes"]:
        yield from _recipe_mistakes(checked, name)
    yield from template_mistakes(f"{where}.template", block["template"])
    for name, place in block["sets"].items():
        if place["template"] is not None:
            yield from template_mistakes(f"{where}.sets.{name}.template", place["template"])


def _pairs_mistakes(checked: Checked, name: str) -> Iterator[str]:
    block = checked.config["datasets"][name]
    attack = block["attack"]
    if block["kind"] != PAIRS:
        yield (
            f"analyses.typographic.pairs: {name!r} is of kind {block['kind']!r}; name a data set "
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
