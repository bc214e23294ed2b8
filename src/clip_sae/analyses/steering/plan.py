"""Steps of `analyses.steering`: words, measured units, tables of all layers, Figs 5, 6, 7 and 9.

Steering paper §6. One job measures one kind of unit at one layer. Tables at the results root gather
all layers, once without the baselines and once, in target `extended`, with them.
"""

from collections.abc import Sequence
from pathlib import Path

from clip_sae.planning.artefacts import COMPLETE, Artefact
from clip_sae.planning.plan import Plan, Rule, StoreKey
from clip_sae.planning.plugins import word_lists, words_code
from clip_sae.planning.reads import Outside
from clip_sae.planning.steps import once

RUN = "clip_sae.analyses.steering"
DRAW = f"{RUN}.draw"
PAPER = "paper/steering.csv"

EMBED = Rule(
    "embed_vocabulary",
    "vocabulary/{vocabulary}-{digest}.npz",
    f"{RUN}.embed_vocabulary:embed_vocabulary",
)
MEASURE = Rule(
    "measure_steering",
    f"measurements/steering/{{kind}}-L{{layer}}-{{digest}}/{COMPLETE}",
    f"{RUN}.measure:measure_steering",
    split="units",
)
TRACES = Rule("measure_traces", "steering_traces.csv", f"{RUN}.measure:measure_traces")
RAREFACTION = Rule(
    "measure_rarefaction",
    "{steered}_rarefaction.csv",
    f"{RUN}.gathered_tables:measure_rarefaction",
)
COUNT = Rule(
    "count_steerability",
    "{steered}_histogram.csv",
    f"{RUN}.gathered_tables:count_steerability",
)

LATENTS, BASELINES = "steerability", "steerability_baselines"  # starts of table names
FILES = {"units": "units.csv.gz", "layer": "layers.csv", "grid": "grid.csv.gz"}  # and their ends
DRAWN = ("random", "random_sae")  # kinds with any number of units


def steps(plan: Plan) -> None:
    """Declare measurements, tables and figures where the config has `analyses.steering`."""
    if plan.analysis("steering") is None:
        return
    steering = Steering(plan)
    tables = steering.tables(LATENTS, steering.kinds, ["units", "layer", "grid"], "all")
    steering.figures(tables)
    steering.traces()
    if steering.section["baselines"]:
        kinds = [*steering.kinds, *steering.section["baselines"]]
        tables = steering.tables(BASELINES, kinds, ["units", "layer"], "extended")
        steering.baseline_figure(tables)


class Steering:
    """Steps of `analyses.steering` of a plan's config."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.section = plan.analysis("steering")
        self.layers = plan.layers(self.section["recipe"])
        self.kinds = ["latent", *self.section["comparisons"]]

    @once
    def vocabulary(self) -> Artefact:
        """Return the words and their text embeddings."""
        listed = self.section["vocabulary"]
        words, sha256 = listed["words"], listed["sha256"]
        reads = {"clip": self.plan.clip}
        values = {"sha256": sha256, "first": listed["first"], "template": self.section["template"]}
        recorded = {}
        if isinstance(words, list):
            values["words"] = words
        elif words in word_lists():  # a plug-in's list, whose code decides the words
            values["words"], recorded = words, {"list": words_code(words)}
        else:  # a sha256 in the config stands for the file's content
            reads["words"] = self.plan.file(words) if sha256 is None else Outside(words)
        name = Path(words).stem if isinstance(words, str) else "words"
        return self.plan.step(EMBED, reads=reads, values=values, recorded=recorded, vocabulary=name)

    def files(self, layer: int) -> dict:
        """Return the files that a layer's steering reads; the SAE is the recipe's first variant."""
        dataset, split = self.section["dataset"], self.section["split"]
        return {
            "clip": self.plan.clip,
            "index": self.plan.index(dataset),
            "store": self.plan.store(StoreKey(dataset, split, "resid_post", layer)),
            "sae": self.plan.saes(self.section["recipe"], layer)[0],
            "vocabulary": self.vocabulary(),
        }

    def values(self, *names: str) -> dict:
        """Return values of the analysis' section, and the seed."""
        return {name: self.section[name] for name in names} | {"seed": self.plan.seed}

    @once
    def measured(self, kind: str, layer: int) -> Artefact:
        """Return the folder of the tables of one kind of unit at one layer."""
        grid_units = self.section["grid_units"] if kind == "latent" else 0
        if layer == self.plan.architecture.n_layers - 1:
            grid_units = None  # all: no block runs after the last layer, so its grid costs little
        return self.plan.step(
            MEASURE,
            reads={"files": self.files(layer)},
            values={
                "kind": kind,
                "n_units": self.section["baseline_units" if kind in DRAWN else "units"],
                "grid_units": grid_units,
                **self.values("images", "sampling", "error"),
                **self.values("strength", "strengths", "gamma", "beta"),
                **self.plan.intervals,
            },
            kind=kind,
            layer=layer,
        )

    def tables(
        self, name: str, kinds: Sequence[str], of: Sequence[str], target: str
    ) -> dict[str, Artefact]:
        """Return tables of all layers and some kinds: those of `of`, "rarefaction" and "histogram".

        Args:
            name: start of the files' names; of: keys of `FILES`, with "units".
        """
        folders = [self.measured(kind, layer) for kind in kinds for layer in self.layers]
        tables = {
            table: self.plan.gather(
                f"{name}_{FILES[table]}",
                f"{RUN}.gathered_tables:gather_steering",
                reads={"folders": folders},
                values={"table": table},
                target=target,
            )
            for table in of
        }
        tables["rarefaction"] = self.plan.step(
            RAREFACTION,
            reads={"units": tables["units"]},
            values=self.values("strength", "gamma"),
            steered=name,
        )
        tables["histogram"] = self.plan.step(COUNT, reads={"units": tables["units"]}, steered=name)
        self.plan.want(target, tables["rarefaction"], tables["histogram"])
        return tables

    # --- a few latents along the strength -------------------------------------------------------

    def traces(self) -> None:
        """Trace named latents, or some of the last layer, along the strength: Figs 5 and 9."""
        traced = self.section["traced"]
        layer = self.layers[-1] if traced is None else traced["layer"]
        traces = self.plan.step(
            TRACES,
            reads={
                "files": self.files(layer),
                "measured": self.measured("latent", layer) if traced is None else None,
            },
            values={
                "named": None if traced is None else traced["units"],
                **self.values("images", "sampling", "error", "strength", "strengths", "gamma"),
            },
        )
        self.plan.want("all", traces)
        mask = self.section["vocabulary"]["mask"]
        reads = {"traces": traces, "mask": None if mask is None else self.plan.file(mask)}
        gamma = {"gamma": self.section["gamma"]}
        self.plan.draw("fig5", f"{DRAW}_traces:fig5", reads=reads, values=gamma)
        self.plan.draw("fig9", f"{DRAW}_traces:fig9", reads=reads)

    # --- figures and the table for readers ------------------------------------------------------

    @property
    def levels(self) -> dict:
        """Return the strength and the threshold that figures refer to."""
        return {name: self.section[name] for name in ("strength", "gamma")}

    def figures(self, tables: dict[str, Artefact]) -> None:
        """Draw Figs 6 and 7 and the dispersion, and render the layers."""
        paper = self.plan.resource(PAPER)
        layers = {"layers": tables["layer"]}
        for run, other in (("draw:fig6", "histogram"), ("draw_coverage:fig7", "rarefaction")):
            reads = {**layers, other: tables[other], "paper": paper}
            figure = run.partition(":")[2]
            self.plan.draw(figure, f"{RUN}.{run}", reads=reads, values=self.levels)
        self.plan.draw(
            "steerability_dispersion",
            f"{DRAW}:steerability_dispersion",
            reads={**layers, "units": tables["units"]},
            values={"strength": self.section["strength"]},
        )
        self.plan.render(
            "steerability_layers",
            f"{RUN}.render:steerability_layers",
            reads={**layers, "paper": paper},
            values={**self.levels, **self.captions},
        )

    def baseline_figure(self, tables: dict[str, Artefact]) -> None:
        """Draw every kind of unit next to the latents."""
        names = ("histogram", "rarefaction")
        self.plan.draw(
            BASELINES,
            f"{DRAW}_coverage:steerability_baselines",
            reads={"layers": tables["layer"], **{name: tables[name] for name in names}},
            values=self.levels,
            target="extended",
        )

    @property
    def captions(self) -> dict:
        """Return the names in the captions of the table of layers."""
        words, template = self.section["vocabulary"]["words"], self.section["template"]
        if isinstance(words, str) and words in word_lists():
            vocabulary = f"the {words}'s words"
        else:
            vocabulary = Path(words).name if isinstance(words, str) else "chosen words"
        dropped = ", error term dropped" if self.section["error"] == "drop" else ""
        return {
            "model": self.plan.clip.facts["name"] + dropped,
            "vocabulary": vocabulary + (f" in {template!r}" if template != "none" else ""),
            "sampling": self.section["sampling"],
        }
