"""What a schema cannot say about augmented data sets: each mistake as a sentence.

Steering paper App. 10 (augmented Waterbirds). Known to the Snakefile, so neither torch nor Pillow;
`clip_sae.config` asks it. The operations are in `clip_sae.datasets.augment`.
"""

from collections.abc import Iterator

AUGMENTED = "augmented"
OPERATIONS = ("rotate", "crop", "contrast", "flip")


def augment_mistakes(config: dict) -> Iterator[str]:
    """Yield a sentence for each mistake in the data sets that are other sets' images, augmented."""
    for name, block in config["datasets"].items():
        augment, where = block["augment"], f"datasets.{name}"
        if (augment is not None) != (block["kind"] == AUGMENTED):
            yield f"{where}: `augment` makes a set of kind {AUGMENTED}, and only that; mend one."
        if augment is None:
            continue
        source = config["datasets"].get(augment["dataset"])
        if source is None:
            existing = ", ".join(config["datasets"])
            yield (
                f"{where}.augment.dataset: {augment['dataset']!r} is not under `datasets`; there "
                f"are: {existing}."
            )
        elif source["augment"] is not None:
            yield f"{where}.augment.dataset: {augment['dataset']!r} is itself an augmented set."
        if not any(augment[operation] for operation in OPERATIONS):
            yield f"{where}.augment: name at least one of {', '.join(OPERATIONS)}."


def operations_of(augment: dict) -> dict:
    """The operations of an `augment` block, in the order of OPERATIONS."""
    return {operation: augment[operation] for operation in OPERATIONS}
