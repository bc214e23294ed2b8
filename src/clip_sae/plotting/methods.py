"""Adaptations in print: name and colour of each kind. PatchSAE §5."""

from collections.abc import Mapping

from clip_sae.plotting import theme

# kind → name, colour
KINDS = {
    "none": ("zero-shot", theme.GREY),
    "coop": ("CoOp", "#0072B2"),
    "vpt": ("VPT-deep", "#009E73"),
    "maple": ("MaPLe", "#D55E00"),
    "checkpoint": ("checkpoint", "#CC79A7"),
}


def method_names(methods: list[str], kinds: Mapping[str, str]) -> dict[str, str]:
    """{method: name in print}: the kind's name, and the method's own where a kind repeats."""
    names = {method: KINDS[kinds[method]][0] for method in methods}
    taken = list(names.values())
    return {m: f"{name} ({m})" if taken.count(name) > 1 else name for m, name in names.items()}
