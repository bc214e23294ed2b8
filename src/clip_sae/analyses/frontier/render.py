"""Every architecture's quality at equal L0, as Markdown."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from clip_sae.analyses.frontier.curves import CURVE, at_equal_l0
from clip_sae.analyses.frontier.draw import curve_styles
from clip_sae.plotting.tables import Column, Layout, to_markdown

CAPTION = (
    "Explained variance and recovered cross-entropy (percent) at equal L0: SAEs on "
    "{hook} of layer {layer}, {model}, {n_images:,} held-out images. Mean over seeds "
    "[least, greatest]; linear in log L0 between neighbouring SAEs of a seed."
)
# metric, header, digits, scale
METRICS = (("explained_variance", "Exp. Var.", 3, 1), ("ce_recovered", "CE Rec (%)", 2, 100))


def frontier_markdown(job, *, csv: Path, model: str, levels: Sequence[float]) -> str:
    """Return a row per curve, a column per metric and L0; a dash if no seed reaches that L0."""
    points = pd.read_csv(csv)
    facts = {}
    for name in ("n_images", "layer", "hook"):
        [facts[name]] = points[name].unique()
    readings = at_equal_l0(points, levels)
    rows = []
    for curve, style in curve_styles(readings).items():
        own = readings[(readings[CURVE] == curve).all(axis=1)]
        row = {"name": style.name}
        for reading in own.to_dict("records"):
            for metric, *_ in METRICS:
                for end in ("", "_low", "_high"):
                    row[f"{metric}_{reading['l0']:g}{end}"] = reading[metric + end]
        rows.append(row)
    layout = Layout(
        keys=(Column("name", "Architecture"),),
        columns=tuple(
            Column(f"{metric}_{level:g}", f"{header} at L0 {level:g}", digits, scale)
            for metric, header, digits, scale in METRICS
            for level in sorted(set(readings.l0))
        ),
        caption=CAPTION.format(model=model, **facts),
    )
    return to_markdown(pd.DataFrame(rows), None, layout)
