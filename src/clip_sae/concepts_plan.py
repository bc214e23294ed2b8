"""The artefacts of `analyses.concepts` of a plan: concept tables, masks and how well they sit.

PatchSAE §3. Like `clip_sae.plan`, known from the config alone.
"""

from collections.abc import Mapping
from functools import cached_property

from clip_sae.artefacts import COMPLETE, Artefact
from clip_sae.plan import Plan, PlannedSae, StoreKey


class ConceptsPlan:
    """Artefacts of the concepts of one SAE."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.block: Mapping = plan.config["analyses"]["concepts"]
        self.dataset: str = self.block["dataset"]

    @property
    def layer(self) -> int:
        """The SAE's layer; the last but one where the config names none."""
        return self.plan.layer_of(self.block)

    @cached_property
    def sae(self) -> PlannedSae:
        """The SAE; of a recipe that sweeps, the first variant."""
        return self.plan.sae_of(self.block)

    @property
    def index(self) -> Artefact:
        """The manifest."""
        return self.plan.index(self.dataset)

    def store(self, split: str) -> Artefact:
        """What the SAE reads of one split."""
        return self.plan.store(StoreKey(self.dataset, split, self.sae.hook, self.layer))

    @property
    def shown_split(self) -> str:
        """Split of the images that are shown through masks: the one that has known masks."""
        return self.block["masks"]["split"] if self.block["masks"] else self.block["split"]

    @property
    def spec(self) -> dict:
        """Values behind the tables."""
        return {key: self.block[key] for key in ("threshold", "top_images")}

    @cached_property
    def measured(self) -> Artefact:
        """The folder with what one pass over the store finds of all latents and neurons."""
        return self.plan.measured(
            f"measurements/concepts/{self.sae.name}-L{self.layer:02d}-{{digest}}/{COMPLETE}",
            "measure_concepts",
            upstream=[self.index, self.store(self.block["split"]), self.sae.artefact],
            spec=self.spec | {"sae": self.sae.label},  # the rows hold it
        )

    @property
    def masks_spec(self) -> dict:
        """Values behind masks and examples."""
        keys = ("masks", "max_share", "examples", "n_examples", "strongest")
        return {key: self.block[key] for key in keys} | {
            **self.plan.interval_spec,
        }

    @cached_property
    def masks(self) -> Artefact:
        """The folder with the scores of all masks and the examples that are shown."""
        return self.plan.measured(
            f"measurements/concept_masks/{self.sae.name}-L{self.layer:02d}-{{digest}}/{COMPLETE}",
            "measure_masks",
            upstream=[
                self.index,
                self.measured,
                self.store(self.shown_split),
                self.sae.artefact,
            ],
            spec=self.masks_spec | {"sae": self.sae.label},
        )

    @property
    def grid(self) -> list[int]:
        """Rows and columns of the patches."""
        return 2 * [self.plan.architecture.grid]

    # --- final files ----------------------------------------------------------------------------

    @cached_property
    def tables(self) -> dict[str, Artefact]:
        """{name: final table}."""
        tables = {"concepts": self.measured}
        if self.block["masks"]:
            tables["concept_masks"] = self.masks
        return {
            name: self.plan.measured(f"{name}.csv", "gather_rows", upstream=[made])
            for name, made in tables.items()
        }

    @cached_property
    def scatter(self) -> Artefact:
        """The figure of all latents: sparsity, mean activation, label entropy."""
        return self.plan.measured(
            "concepts.png",
            "plot_concepts",
            upstream=[self.tables["concepts"]],
            spec=self.caption,
            resources=["style.mplstyle"],
        )

    @property
    def caption(self) -> dict:
        """What the figures say of their source."""
        return {
            "sae": self.sae.label,
            "layer": self.layer,
            "dataset": f"{self.dataset}, {self.block['split']}",
            "top_images": self.block["top_images"],
        }

    @cached_property
    def pictures(self) -> Artefact:
        """The figure of masks over images, with reference images."""
        return self.plan.measured(
            "concept_masks.png",
            "plot_concept_masks",
            upstream=[self.index, self.measured, self.masks],
            spec=self.caption,
            resources=["style.mplstyle"],
        )
