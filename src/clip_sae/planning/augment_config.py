"""What a schema cannot say about made data sets: each mistake as a sentence.

Steering paper App. 10 (augmented Waterbirds). Known to the Snakefile, so neither torch nor Pillow;
`clip_sae.planning.config` asks it. The operations are in `clip_sae.datasets.augment`.
"""

from collections.abc import Iterator

AUGMENTED, PAIRS = "augmented", "attacked_pairs"
OPERATIONS = ("rotate", "crop", "contrast", "flip")


def augment_mistakes(config: dict) -> Iterator[str]:
    """Yield a sentence for each mistake in the data sets that are other sets' images, augmented."""
    for name, block in config["datasets"].items():
        augment, where = block["augment"], f"datasets.{name}"
        if (augment is not None) != (block["kind"] == AUGMENTED):
            yield f"{where}: `augment` makes a set of kind {AUGMENTED}, and only that; mend one."
        if augment is None:
            continue
        source = config["datasets"][augment["dataset"]]
        if source["augment"] is not None:
            yield f"{where}.augment.dataset: {augment['dataset']!r} is itself an augmented set."
        if not any(augment[operation] for operation in OPERATIONS):
            yield f"{where}.augment: name at least one of {', '.join(OPERATIONS)}."


def attack_mistakes(config: dict) -> Iterator[str]:
    """Yield a sentence for each mistake in the data sets that are attacked copies of others."""
    for name, block in config["datasets"].items():
        attack, where = block["attack"], f"datasets.{name}"
        if (attack is not None) != (block["kind"] == PAIRS) and block["root"] is None:
            yield f"{where}: `attack` makes a set of kind {PAIRS}, and only that; mend one of them."
        if attack is None:
            continue
        source = config["datasets"][attack["dataset"]]
        if source["attack"] is not None:
            yield f"{where}.attack.dataset: {attack['dataset']!r} is itself an attacked copy."
        elif source["augment"] is not None:
            yield (
                f"{where}.attack.dataset: {attack['dataset']!r} is an augmented set, whose images "
                "have no files of their own. Name the set that it is made from."
            )
        low, high = attack["font_size"]
        if low > high:
            yield f"{where}.attack.font_size: write the smaller share first; found {low}, {high}."


def operations_of(augment: dict) -> dict:
    """The operations of an `augment` block, in the order of OPERATIONS."""
    return {operation: augment[operation] for operation in OPERATIONS}
