"""The artefacts of `analyses.class_concepts` of a plan: class-level counts, curves, figure, table.

PatchSAE §4.1. Like `clip_sae.plan`, known from the config alone.
"""

from collections.abc import Mapping
from functools import cached_property

from clip_sae.artefacts import Artefact
from clip_sae.plan import Plan, PlannedSae, StoreKey


class ClassConceptsPlan:
    """Artefacts of keeping only, and of taking out, the latents of a class."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.block: Mapping = plan.config["analyses"]["class_concepts"]
        self.dataset: str = self.block["dataset"]

    @property
    def layer(self) -> int:
        """The SAE's layer; the last but one where the config names none."""
        return self.plan.layer_of(self.block)

    @cached_property
    def sae(self) -> PlannedSae:
        """The SAE; of a recipe that sweeps, the first variant."""
        return self.plan.sae_of(self.block)

    def store(self, split: str) -> Artefact:
        """Residuals of one split."""
        return self.plan.store(StoreKey(self.dataset, split, "resid_post", self.layer))

    @property
    def index(self) -> Artefact:
        """The manifest."""
        return self.plan.index(self.dataset)

    @property
    def counts_spec(self) -> dict:
        """Values behind the class-level counts."""
        return {"threshold": self.block["threshold"]}

    @cached_property
    def counts(self) -> Artefact:
        """How often each latent is clearly active on each class, from the training split."""
        return self.plan.measured(
            f"measurements/concepts/class-counts-{self.sae.name}-L{self.layer:02d}-{{digest}}.npz",
            "count_classes",
            upstream=[self.index, self.store("train"), self.sae.artefact],
            spec=self.counts_spec,
        )

    @property
    def table_spec(self) -> dict:
        """Values behind the curves."""
        return {
            "templates": self.plan.config["zeroshot"]["templates"],
            "sizes": self.block["sizes"],
            "random_seeds": self.block["random_seeds"],
            **self.plan.interval_spec,
        }

    @cached_property
    def table(self) -> Artefact:
        """Accuracy per class and its mean, for every k."""
        return self.plan.measured(
            "class_concepts.csv",
            "measure_class_concepts",
            upstream=[
                self.plan.model,
                self.index,
                self.store(self.block["split"]),
                self.sae.artefact,
                self.counts,
            ],
            spec=self.table_spec,
        )

    @cached_property
    def figure(self) -> Artefact:
        """The curves drawn."""
        return self.plan.measured(
            "class_concepts.png",
            "plot_class_concepts",
            upstream=[self.table],
            resources=["style.mplstyle"],
        )

    @property
    def caption(self) -> dict:
        """What the rendered table says besides its numbers."""
        return {
            "model": self.plan.config["model"]["name"],
            "sae": self.sae.label,
            "layer": self.layer,
            "threshold": self.block["threshold"],
            "random_seeds": self.block["random_seeds"],
        }

    @cached_property
    def rendered(self) -> Artefact:
        """The mean curves as a Markdown table."""
        return self.plan.measured(
            "class_concepts.md", "render_class_concepts", upstream=[self.table], spec=self.caption
        )
