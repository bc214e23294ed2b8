"""What a schema cannot say about `analyses.frontier`, as sentences. No torch."""

from collections.abc import Iterator

from clip_sae.planning.config import TOKEN_KEYS
from clip_sae.planning.mistakes import Checked
from clip_sae.planning.recipes import can_sweep

# Keys that may be lists in a recipe of the frontier: what makes its curves, points and spread.
FRONTIER_LISTS = (
    *("architecture", "decoder_norm", "seed"),
    *("k", "l1_coefficient", "l0_coefficient", "target_l0"),
)


def mistakes(checked: Checked) -> Iterator[str]:
    """Yield a sentence for each mistake; nothing where there is no such block."""
    places = {}
    for name in checked.analyses.get("frontier", {}).get("recipes", []):
        block = checked.recipe(name)
        for key in sorted(block.keys() - {*FRONTIER_LISTS, *TOKEN_KEYS}):
            if can_sweep(key) and isinstance(block[key], list):
                yield (
                    f"saes.{name}.{key}: the frontier needs one value here, or SAEs of equal "
                    f"sparsity and seed could not be told apart. Lists are possible for "
                    f"{', '.join(FRONTIER_LISTS)}."
                )
        places[name] = f"{block['hook']} of layers {sorted(block['layers'])}"
        if len(block["layers"]) > 1:
            yield (
                f"saes.{name}.layers: the frontier compares SAEs of one layer, and has "
                f"{sorted(block['layers'])}. Write one layer."
            )
    if len(set(places.values())) > 1:
        found = "; ".join(f"{name} is on {place}" for name, place in places.items())
        yield f"analyses.frontier.recipes: all must be on the same hook and layer, but {found}."
