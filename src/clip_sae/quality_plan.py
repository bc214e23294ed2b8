"""The artefacts of `analyses.quality` of a plan: embeddings, a score per latent, tables.

Like `clip_sae.plan`, known from the config alone.
"""

import re
from collections.abc import Mapping
from functools import cached_property

from clip_sae.artefacts import COMPLETE, Artefact
from clip_sae.plan import Plan, PlannedSae, StoreKey

_SEED = re.compile(r"seed-\d+")
TABLES = {"quality": "recipes", "quality_seeds": "seeds"}  # name → key of its recipes


class QualityPlan:
    """Artefacts of the quality of latents, recipe by recipe."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.block: Mapping = plan.config["analyses"]["quality"]
        self.dataset, self.split = self.block["dataset"], self.block["split"]

    @property
    def encoder(self) -> dict:
        """The CLIP in whose space images are compared: its name, model and pretrained."""
        block = self.block["encoder"] or self.plan.config["model"]
        return {key: block[key] for key in ("name", "model", "pretrained")}

    @property
    def circular(self) -> bool:
        """Whether latents are judged by the model that they were taken from."""
        return self.block["encoder"] is None

    @cached_property
    def fingerprint(self) -> Artefact:
        """The fingerprint of the encoder's weights."""
        if self.circular:
            return self.plan.model
        return Artefact(
            path=f"{self.plan.results}/fingerprints/model-{self.encoder['name']}-{{digest}}/"
            f"{COMPLETE}",
            stage="fingerprint_model",
            spec=self.encoder,
            source=f"model:{self.encoder['name']}",
        )

    @property
    def index(self) -> Artefact:
        """The manifest."""
        return self.plan.index(self.dataset)

    @property
    def decoding(self) -> dict:
        """How images become pixels of the encoder's size."""
        activations = self.plan.config["activations"]
        return {
            "preprocess": activations["preprocess"],
            "exif": activations["exif"],
            "max_pixels": self.plan.config["datasets"][self.dataset]["max_pixels"],
        }

    @cached_property
    def embeddings(self) -> Artefact:
        """Embeddings of the split's images."""
        return self.plan.measured(
            f"measurements/quality/embeddings-{self.encoder['name']}-{{digest}}/{COMPLETE}",
            "embed_images",
            upstream=[self.fingerprint, self.index],
            spec={"split": self.split} | self.decoding,
        )

    def parts(self, table: str) -> list[tuple[str, int]]:
        """(recipe, layer) of one of the TABLES; seeds are compared at all layers they have."""
        wanted = self.block["layers"] if table == "quality" else None
        return [
            (name, layer)
            for name in self.block[TABLES[table]]
            for layer in self.plan.layers(name)
            if wanted is None or layer in wanted
        ]

    def saes(self, name: str, layer: int) -> list[PlannedSae]:
        """All SAEs of a recipe at a layer."""
        return self.plan.saes(name, layer)

    def groups(self, name: str, layer: int) -> dict[str, list[str]]:
        """{name without the seed: variants that differ in the seed alone}."""
        found: dict[str, list[str]] = {}
        for sae in self.saes(name, layer):
            parts = [part for part in sae.variant.split("_") if not _SEED.fullmatch(part)]
            found.setdefault("_".join(parts) or "base", []).append(sae.variant)
        return found

    def store(self, name: str, layer: int) -> Artefact:
        """What the SAEs of a recipe read of the split."""
        hook = self.plan.config["saes"][name]["hook"]
        return self.plan.store(StoreKey(self.dataset, self.split, hook, layer))

    @property
    def spec(self) -> dict:
        """Values behind the scores."""
        return {
            "factors": self.block["factors"],
            "top_images": self.block["top_images"],
            **self.plan.interval_spec,
        }

    def measured(self, name: str, layer: int) -> Artefact:
        """The folder with the scores of a recipe's SAEs at a layer: summary.csv and latents.csv."""
        return self.plan.measured(
            f"measurements/quality/{name}-L{layer:02d}-{{digest}}/{COMPLETE}",
            "measure_quality",
            upstream=[
                self.index,
                self.embeddings,
                self.store(name, layer),
                *(sae.artefact for sae in self.saes(name, layer)),
            ],
            # the rows hold these names
            spec=self.spec | {"saes": [sae.label for sae in self.saes(name, layer)]},
        )

    def all_measured(self, table: str) -> list[Artefact]:
        """What a table is gathered from."""
        return [self.measured(name, layer) for name, layer in self.parts(table)]

    def table(self, table: str) -> Artefact:
        """One row per SAE, and one per control."""
        return self.plan.measured(f"{table}.csv", "gather_rows", upstream=self.all_measured(table))

    def rendered(self, table: str) -> Artefact:
        """The table in Markdown."""
        return self.plan.measured(
            f"{table}.md", "render_quality", upstream=[self.table(table)], spec=self.caption
        )

    @property
    def caption(self) -> dict:
        """What the rendered table says besides its numbers."""
        return {
            "model": self.plan.config["model"]["name"],
            "encoder": self.encoder["name"],
            "circular": self.circular,
            "factors": (self.block["factors"] or {"columns": []})["columns"],
            "top_images": self.block["top_images"],
            "split": f"{self.dataset}, {self.split}",
        }
