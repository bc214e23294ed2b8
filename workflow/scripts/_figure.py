"""What every drawing adapter does: apply the style, draw, write PNG and SVG, publish."""

from collections.abc import Callable
from pathlib import Path

from _job import SCRIPTS, Job
from matplotlib.figure import Figure

from clip_sae.plotting import theme


def draw(snakemake, figure: Callable[[dict], Figure]) -> None:
    """Save `figure(arguments)` as the rule's PNG and SVG; `arguments` are those of its spec."""
    job = Job(snakemake)
    theme.use_style(SCRIPTS.parent / "resources" / "style.mplstyle")
    png = Path(snakemake.output[0])
    theme.save(figure(job.arguments), png, png.with_suffix(".svg"))
    job.publish(str(png))
