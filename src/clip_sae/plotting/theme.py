"""The style of all figures: sizes, colours, one table of names and markers; saves figures.

Colours are from Okabe and Ito's palette, which readers with common colour blindness can tell apart;
maps use viridis.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib as mpl
import matplotlib.style
import numpy as np
from matplotlib.figure import Figure

PAGE_WIDTH = 7.0  # inches
PATCH, CLS, REFERENCE, GREY = "#0072B2", "#D55E00", "#009E73", "#888888"
# Curves that have no name of their own in `STYLES`, such as single latents or words.
CURVES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


@dataclass(frozen=True)
class Style:
    """Name in print, colour and marker."""

    name: str
    colour: str
    marker: str = "o"


# group → key → style. A registry adds its own keys here.
STYLES: dict[str, dict[str, Style]] = {
    # SAE architectures; "/free": the rows of the decoder have free norms
    "architecture": {
        "vanilla": Style("vanilla", "#0072B2", "o"),
        "vanilla/free": Style("vanilla, free norm", "#56B4E9", "s"),
        "gated": Style("gated", "#CC79A7", "P"),
        "jumprelu": Style("JumpReLU", "#009E73", "D"),
        "topk": Style("TopK", "#D55E00", "^"),
        "batchtopk": Style("BatchTopK", "#E69F00", "v"),
        "matryoshka": Style("Matryoshka", "#000000", "X"),
    },
    # adaptations of CLIP (PatchSAE §5)
    "adaptation": {
        "none": Style("zero-shot", GREY),
        "coop": Style("CoOp", "#0072B2"),
        "vpt": Style("VPT-deep", "#009E73"),
        "maple": Style("MaPLe", "#D55E00"),
        "checkpoint": Style("checkpoint", "#CC79A7"),
    },
    # directions that are steered or described
    "unit": {
        "latent": Style("SAE latents", "#0072B2", "o"),
        "neuron": Style("neurons", "#D55E00", "s"),
        "neuron_equal_push": Style("neurons, equal push", "#E69F00", "D"),
        "pca": Style("PCA directions", "#009E73", "^"),
        "random": Style("random directions", "#888888", "v"),
        "random_sae": Style("latents of an untrained SAE", "#CC79A7", "X"),
    },
}


def style_of(group: str, key: str) -> Style:
    """Return the style of a key; a key without one has its own name and a grey star."""
    return STYLES[group].get(key, Style(key, GREY, "*"))


def styles_of(
    group: str, keys: Mapping[Hashable, str], own: Callable[[Hashable], str] = str
) -> dict[Hashable, Style]:
    """Return {item: style}; where items share a name, the item's own name follows in brackets.

    Args:
        keys: {item: its key in the group}.
        own: returns the own name of an item.
    """
    found = {item: style_of(group, key) for item, key in keys.items()}
    names = [style.name for style in found.values()]
    return {
        item: replace(style, name=f"{style.name} ({own(item)})")
        if names.count(style.name) > 1
        else style
        for item, style in found.items()
    }


def method_styles(methods: Sequence[str], kinds: Mapping[str, str]) -> dict[str, Style]:
    """Return {method: style} of adaptations; `kinds`: {method: kind of adaptation}."""
    return styles_of("adaptation", {method: kinds[method] for method in dict.fromkeys(methods)})


def layer_colours(layers: Sequence[int]) -> dict[int, tuple]:
    """Return one colour per layer, dark (early) to light (late), darker than the paper."""
    layers = sorted(set(layers))
    shades = mpl.colormaps["viridis"](np.linspace(0.0, 0.88, len(layers)))
    return {layer: tuple(shade) for layer, shade in zip(layers, shades, strict=True)}


# --- figures and files ----------------------------------------------------------------------------


def use_style(path: Path) -> None:
    """Apply the style sheet (workflow/resources/style.mplstyle) to all figures drawn after it."""
    mpl.style.use(path)


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, in inches, that lays out its own panels and has no window."""
    return Figure(figsize=(width, height), layout="constrained")


def nothing_to_show() -> Figure:
    """Return an empty figure with its reason: the workflow's target must exist either way."""
    figure = new_figure(PAGE_WIDTH, 0.6)
    reason = "Nothing to show: on validation, no set was better than leaving the model as it is."
    figure.text(0.5, 0.5, reason, ha="center", va="center")
    return figure


def save(figure: Figure, *paths: Path) -> None:
    """Write the figure to each path, in the format of its suffix.

    Files carry no time stamp, so equal data give equal files. Each is drawn under another name and
    renamed, so an interrupted job leaves no partial file.
    """
    for path in map(Path, paths):
        # Only SVG writes a date by itself; None leaves it out.
        metadata = {"Date": None} if path.suffix == ".svg" else None
        partial = path.with_name(f".{path.stem}.partial{path.suffix}")
        try:
            figure.savefig(partial, metadata=metadata)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
