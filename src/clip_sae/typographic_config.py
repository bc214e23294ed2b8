"""What a schema cannot say about attacked copies and `analyses.typographic`: mistakes as sentences.

Steering paper §7.2. Known to the Snakefile, so no torch; `clip_sae.config` asks it.
"""

from collections.abc import Callable, Iterator

from clip_sae.architecture import Architecture
from clip_sae.config_mistakes import template_mistakes

PAIRS = "attacked_pairs"


def attack_mistakes(config: dict) -> Iterator[str]:
    """Yield a sentence for each mistake in the data sets that are attacked copies of others."""
    for name, block in config["datasets"].items():
        attack, where = block["attack"], f"datasets.{name}"
        if (attack is not None) != (block["kind"] == PAIRS) and block["root"] is None:
            yield f"{where}: `attack` makes a set of kind {PAIRS}, and only that; mend one of them."
        if attack is None:
            continue
        source = config["datasets"].get(attack["dataset"])
        if source is None:
            existing = ", ".join(config["datasets"])
            yield (
                f"{where}.attack.dataset: {attack['dataset']!r} is not under `datasets`; there "
                f"are: {existing}."
            )
        elif source["attack"] is not None:
            yield f"{where}.attack.dataset: {attack['dataset']!r} is itself an attacked copy."
        elif source["augment"] is not None:
            yield (
                f"{where}.attack.dataset: {attack['dataset']!r} is an augmented set, whose images "
                "have no files of their own. Name the set that it is made from."
            )
        low, high = attack["font_size"]
        if low > high:
            yield f"{where}.attack.font_size: write the smaller share first; found {low}, {high}."


def typographic_mistakes(
    config: dict, model: Architecture | None, unknown: Callable[[str, str, str], Iterator[str]]
) -> Iterator[str]:
    """Yield a sentence for each mistake; nothing where there is no such block.

    Args:
        model: sizes of the tower, None where it is not known (its own mistake is told elsewhere).
        unknown: (key, name, section) → a sentence where the name is not in that section.
    """
    block = config["analyses"].get("typographic")
    if block is None:
        return
    where = "analyses.typographic"
    yield from unknown(f"{where}.pairs", block["pairs"], "datasets")
    yield from _pairs_mistakes(config, block["pairs"])
    if block["thresholds"]["low"] >= block["thresholds"]["high"]:
        low, high = block["thresholds"]["low"], block["thresholds"]["high"]
        yield f"{where}.thresholds: low ({low}) must be below high ({high})."
    for name in block["recipes"]:
        yield from unknown(f"{where}.recipes", name, "saes")
        yield from _recipe_mistakes(config, name, model)
    yield from template_mistakes(f"{where}.template", block["template"])
    for name, place in block["sets"].items():
        yield from unknown(f"{where}.sets", name, "datasets")
        if place["template"] is not None:
            yield from template_mistakes(f"{where}.sets.{name}.template", place["template"])


def _pairs_mistakes(config: dict, name: str) -> Iterator[str]:
    block = config["datasets"].get(name)
    if block is None:
        return
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


def _recipe_mistakes(config: dict, name: str, model: Architecture | None) -> Iterator[str]:
    recipe = config["saes"].get(name)
    if recipe is None:
        return
    where = f"analyses.typographic.recipes: {name!r}"
    if recipe["hook"] != "resid_post":
        yield f"{where} reconstructs {recipe['hook']}; the defence edits resid_post."
    if model is not None and model.n_layers - 1 not in recipe["layers"]:
        yield (
            f"{where} has no SAE of the last layer, {model.n_layers - 1}; its layers are "
            f"{recipe['layers']}."
        )
