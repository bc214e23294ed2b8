"""Final files at the results root: gathered tables, figures, rendered tables.

A handful of rules makes them all, and each file names its own function.
"""

from collections.abc import Iterable, Mapping

from clip_sae.planning.artefacts import Artefact
from clip_sae.planning.reads import Images, leaves
from clip_sae.planning.steps import Rule

STYLE = "style.mplstyle"

GATHER = Rule("gather", "{csv}")
DRAW = Rule("draw", "{figure}.png", beside=("{figure}.svg",), stage="figure", resources=(STYLE,))
# images may lie where only compute nodes see them, so these figures are no local jobs
DRAW_IMAGES = Rule(
    "draw_images", "{picture}.png", beside=("{picture}.svg",), stage="figure", resources=(STYLE,)
)
RENDER = Rule("render", {"md": "{table}.md", "html": "{table}.html"})
RENDER_MARKDOWN = Rule("render_markdown", "{text}.md")
ROWS = "clip_sae.running.gather:gather_rows"


class Final:
    """Final files of a plan."""

    def gather(
        self,
        csv: str,
        run: str = ROWS,
        *,
        reads: Mapping,
        values: Mapping | None = None,
        target: str = "all",
    ) -> Artefact:
        """Declare a table at the results root that puts others together.

        Args:
            csv: file name, with its suffix.
        """
        table = self.step(GATHER, run=run, reads=reads, values=values, csv=csv)
        self.want(target, table)
        return table

    def draw(
        self,
        figure: str,
        run: str,
        *,
        reads: Mapping,
        values: Mapping | None = None,
        target: str = "all",
    ) -> Artefact:
        """Declare a figure: <figure>.png and .svg."""
        if any(isinstance(leaf, Images) for leaf in leaves(reads)):
            drawn = self.step(DRAW_IMAGES, run=run, reads=reads, values=values, picture=figure)
        else:
            drawn = self.step(DRAW, run=run, reads=reads, values=values, figure=figure)
        self.want(target, drawn)
        return drawn

    def render(
        self,
        table: str,
        run: str,
        *,
        reads: Mapping,
        values: Mapping | None = None,
        target: str = "all",
        formats: Iterable[str] = ("md", "html"),
    ) -> None:
        """Declare a table for readers: <table>.md, and .html where its function makes both."""
        if set(formats) == {"md"}:
            made = self.step(RENDER_MARKDOWN, run=run, reads=reads, values=values, text=table)
            self.want(target, made)
            return
        both = self.step(RENDER, run=run, reads=reads, values=values, table=table)
        self.want(target, *both.values())
