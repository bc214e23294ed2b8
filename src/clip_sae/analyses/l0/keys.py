"""Mistakes in `analyses.l0` that a schema cannot find. No torch: the Snakefile imports this."""

from collections.abc import Iterator

from clip_sae.planning.mistakes import Checked


def mistakes(checked: Checked) -> Iterator[str]:
    """Yield a sentence if the recipe has no SAE at the layer of the map."""
    section = checked.analyses["l0"]
    layers, layer = checked.recipe(section["recipe"])["layers"], section["map_layer"]
    if layer is not None and layer not in layers:
        yield (
            f"analyses.l0.map_layer: layer {layer} is not among the layers of recipe "
            f"{section['recipe']!r}: {layers}."
        )
