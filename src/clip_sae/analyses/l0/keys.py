"""What a schema cannot say about `analyses.l0`, as sentences. No torch."""

from collections.abc import Iterator

from clip_sae.planning.mistakes import Checked


def mistakes(checked: Checked) -> Iterator[str]:
    """Yield a sentence if the recipe has no SAE at the layer of the map."""
    block = checked.analyses["l0"]
    layers, layer = checked.recipe(block["recipe"])["layers"], block["map_layer"]
    if layer is not None and layer not in layers:
        yield (
            f"analyses.l0.map_layer: layer {layer} is not among the layers of recipe "
            f"{block['recipe']!r}: {layers}."
        )
