"""Base-to-novel accuracies as Markdown (PatchSAE §5.1)."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from clip_sae.analyses.adaptation.draw import GROUPS
from clip_sae.plotting import theme
from clip_sae.plotting.tables import Column, Layout, percent, to_markdown

LAYOUT = Layout(
    keys=(Column("dataset", "Set"), Column("method", "Method"), Column("group", "Among")),
    columns=(
        Column("n_seeds", "Seeds", 0),
        Column("n_images", "n", 0),
        percent("accuracy", "Accuracy (%)", 1),
        percent("gain", "Gain (points)", 1),
        percent("sd", "s.d. of seeds (points)", 1),
    ),
    caption="Adaptation of {model} with {shots} images of each base class. Base and novel classes "
    "are the two halves of the class list, each told apart among its own; accuracies are means "
    "over seeds, the harmonic mean is that of both means. Gain: over zero-shot, on the same "
    "images. Intervals are 95 % bootstrap over n images and over seeds.",
    source="Protocol: Zhou et al. 2022 (CoCoOp), as in PatchSAE (Lim et al. 2024).",
)


def accuracy_table(job, *, csv: Path, model: str, shots: int, kinds: Mapping[str, str]) -> str:
    """Return the accuracies of all methods; the gain of the frozen model is left empty.

    `kinds`: {method: kind of adaptation}.
    """
    table = pd.read_csv(csv)
    frozen = table["method"].map(kinds) == "none"
    styles = theme.method_styles(table["method"], kinds)
    printed = table.assign(
        **{name: table[name].where(~frozen) for name in ("gain", "gain_low", "gain_high")},
        method=[styles[method].name for method in table["method"]],
        group=table["group"].map(GROUPS),
    )
    return to_markdown(printed, None, LAYOUT.filled(model=model, shots=shots))
