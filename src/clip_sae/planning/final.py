"""Final files at the results root: gathered tables, figures, rendered tables.

Five rules make them all; each file names its own function.
"""

from collections.abc import Collection, Mapping

from clip_sae.planning.artefacts import Artefact
from clip_sae.planning.reads import Images, leaves
from clip_sae.planning.steps import Rule

STYLE = "style.mplstyle"

GATHER = Rule("gather", "{csv}")
DRAW = Rule("draw", "{figure}.png", beside=("{figure}.svg",), stage="figure", resources=(STYLE,))
# Images may lie on disks that only compute nodes see, so these figures are not local jobs.
DRAW_IMAGES = Rule(
    "draw_images", "{picture}.png", beside=("{picture}.svg",), stage="figure", resources=(STYLE,)
)
RENDER = Rule("render", {"md": "{table}.md", "html": "{table}.html"})
RENDER_MARKDOWN = Rule("render_markdown", "{text}.md")
ROWS = "clip_sae.running.gather:gather_rows"


class Final:
    """Final files of a plan. `reads` and `values` are those of `Plan.step`."""

    def gather(
        self, csv: str, run: str = ROWS, *, target: str = "all", **declared: Mapping
    ) -> Artefact:
        """Declare a table that puts others together; `csv` is its file name, with the suffix."""
        table = self.step(GATHER, run=run, csv=csv, **declared)
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
        of_images = any(isinstance(leaf, Images) for leaf in leaves(reads))
        rule, name = (DRAW_IMAGES, "picture") if of_images else (DRAW, "figure")
        drawn = self.step(rule, run=run, reads=reads, values=values, **{name: figure})
        self.want(target, drawn)
        return drawn

    def render(
        self,
        table: str,
        run: str,
        *,
        target: str = "all",
        formats: Collection[str] = ("md", "html"),
        **declared: Mapping,
    ) -> None:
        """Declare a table for readers: <table>.md, and .html if its function makes both."""
        if set(formats) == {"md"}:
            self.want(target, self.step(RENDER_MARKDOWN, run=run, text=table, **declared))
        else:
            self.want(target, *self.step(RENDER, run=run, table=table, **declared).values())
