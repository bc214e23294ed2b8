"""Mistakes in `analyses.frontier` that a schema cannot find. No torch."""

from collections.abc import Iterator

from clip_sae.planning.config import TOKEN_KEYS
from clip_sae.planning.mistakes import Checked
from clip_sae.planning.recipes import can_sweep

# Keys that may be lists in a recipe of the frontier: they make its curves, points and spread.
FRONTIER_LISTS = (
    *("architecture", "decoder_norm", "seed"),
    *("k", "l1_coefficient", "l0_coefficient", "target_l0"),
)


def mistakes(checked: Checked) -> Iterator[str]:
    """Yield a sentence for each mistake; nothing without such a section."""
    stores = {}
    for name in checked.analyses.get("frontier", {}).get("recipes", []):
        section = checked.recipe(name)
        for key in sorted(section.keys() - {*FRONTIER_LISTS, *TOKEN_KEYS}):
            if can_sweep(key) and isinstance(section[key], list):
                yield (
                    f"saes.{name}.{key}: the frontier needs one value here, or SAEs of equal "
                    f"sparsity and seed would be indistinguishable. Lists are possible for "
                    f"{', '.join(FRONTIER_LISTS)}."
                )
        stores[name] = f"{section['hook']} of layers {sorted(section['layers'])}"
        if len(section["layers"]) > 1:
            yield (
                f"saes.{name}.layers: the frontier compares SAEs of one layer, and has "
                f"{sorted(section['layers'])}. Write one layer."
            )
    if len(set(stores.values())) > 1:
        found = "; ".join(f"{name} is on {store}" for name, store in stores.items())
        yield f"analyses.frontier.recipes: all must be on the same hook and layer, but {found}."
