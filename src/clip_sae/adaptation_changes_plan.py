"""The artefacts of `analyses.adaptation.changes` of a plan: answers, shares, latents, figure.

PatchSAE §5. Like `clip_sae.plan`, known from the config alone.
"""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from clip_sae.adaptation_plan import FROZEN, AdaptationPlan
from clip_sae.artefacts import COMPLETE, Artefact
from clip_sae.plan import PlannedSae

# Shares of the gain; what becomes of each class; what becomes of each latent.
TABLES = {
    "shares": "adaptation_changes.csv",
    "classes": "adaptation_changes_classes.csv",
    "latents": "adaptation_changes_latents.csv.gz",
}


class AdaptationChangesPlan:
    """What the adaptations of an `AdaptationPlan` change."""

    def __init__(self, adaptation: AdaptationPlan) -> None:
        self.adaptation, self.plan = adaptation, adaptation.plan
        self.block: Mapping = adaptation.block["changes"]

    @property
    def layer(self) -> int:
        """The SAE's layer; the last but one where the config names none."""
        return self.plan.layer_of(self.block)

    @cached_property
    def sae(self) -> PlannedSae:
        """The SAE that reads all models; of a recipe that sweeps, the first variant."""
        return self.plan.sae_of(self.block)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """(data set, method) of every adaptation."""
        return [(d, m) for d in self.adaptation.datasets for m in self.adaptation.methods]

    def measured_spec(self, dataset: str) -> dict:
        """Values behind the answers of one data set."""
        return {
            "template": self.adaptation.datasets[dataset]["template"],
            "split": self.adaptation.datasets[dataset]["test"],
            "decoding": self.plan.decoding(dataset),
            **{key: self.block[key] for key in ("threshold", "strongest", "random_seeds")},
            "seed": self.plan.config["seed"],
        }

    def frozen(self, dataset: str) -> dict:
        """The frozen model, as `AdaptationPlan.adapted` names models."""
        return self.adaptation.adapted(dataset, FROZEN)

    def measured(self, dataset: str, method: str) -> Artefact:
        """The folder of the answers of every crossing, and of the latents of every class."""
        return self.plan.measured(
            f"measurements/adaptation_changes/{dataset}-{method}-{{digest}}/{COMPLETE}",
            "measure_changes",
            upstream=[
                self.plan.index(dataset),
                self.sae.artefact,
                *self.adaptation.made_from(dataset, method),
            ],
            spec=self.measured_spec(dataset),
        )

    @cached_property
    def tables(self) -> dict[str, Artefact]:
        """The tables of TABLES by name."""
        return {
            name: self.plan.measured(
                path,
                "summarise_changes",
                upstream=[self.measured(*pair) for pair in self.pairs],
                # the tables hold the names of data sets and methods
                spec=self.plan.interval_spec | {"pairs": [list(pair) for pair in self.pairs]},
            )
            for name, path in TABLES.items()
        }

    @property
    def caption(self) -> dict:
        """What the figure and the rendered table say besides their numbers."""
        return {
            "model": self.plan.config["model"]["name"],
            "sae": self.sae.label,
            "layer": self.layer,
            "strongest": self.block["strongest"],
            "kinds": {method: self.adaptation.kind(method) for method in self.adaptation.methods},
        }

    @cached_property
    def figure(self) -> Artefact:
        """Shares, latents and overlaps drawn."""
        return self.plan.measured(
            "adaptation_changes.png",
            "plot_changes",
            upstream=list(self.tables.values()),
            spec=self.caption,
            resources=["style.mplstyle"],
        )

    @cached_property
    def rendered(self) -> Artefact:
        """The shares and the overlaps as Markdown."""
        return self.plan.measured(
            "adaptation_changes.md",
            "render_changes",
            upstream=[self.tables["shares"], self.tables["classes"]],
            spec=self.caption,
        )

    @property
    def drawing(self) -> str:
        """The figure as SVG."""
        return str(Path(self.figure.path).with_suffix(".svg"))
