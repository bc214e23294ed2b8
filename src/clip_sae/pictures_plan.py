"""The artefacts of a plan behind Figs 1, 2, 3 and 10: top images, examples, figures.

Steering paper Figs 1 to 3 and App. 12. Like `clip_sae.plan`, known from the config alone. Which
layer and SAE the pictures are of is read off the chosen sets, so it is known when they run.
"""

from collections.abc import Mapping

from clip_sae.artefacts import COMPLETE, Artefact
from clip_sae.plan import Plan
from clip_sae.suppression_plan import SuppressionPlan
from clip_sae.typographic_plan import NEURONS, TypographicPlan

WORDS = "written words"  # the concept of attacked images
SPLIT, PAIRS_SPLIT = "test", "val"  # attacked copies have training and validation images


class PicturesPlan:
    """Artefacts of `analyses.pictures` of a plan's config.

    Args:
        suppression, typographic: the analyses whose chosen sets are shown; None where the config
            leaves one out.
    """

    def __init__(
        self,
        plan: Plan,
        suppression: SuppressionPlan | None,
        typographic: TypographicPlan | None,
    ) -> None:
        self.plan, self.suppression, self.typographic = plan, suppression, typographic
        self.block: Mapping = plan.config["analyses"]["pictures"]

    @property
    def spurious(self) -> list[str]:
        """The sets with a spurious attribute."""
        return [*self.suppression.sets] if self.suppression else []

    @property
    def sets(self) -> list[str]:
        """All sets whose images are shown."""
        return self.spurious + ([self.typographic.pairs] if self.typographic else [])

    def is_pairs(self, name: str) -> bool:
        """Whether a set is the attacked copy."""
        return name not in self.spurious

    def concepts(self, name: str) -> dict[str, str]:
        """{side of the gap: what is written above its units}."""
        if self.is_pairs(name):
            return {"a": WORDS}
        attribute = self.suppression.sets[name]["attribute"].replace("_", " ")
        return {"a": attribute, "not_a": f"no {attribute}"} | self.block["names"].get(name, {})

    # --- inputs ---------------------------------------------------------------------------------

    def chosen(self, name: str) -> dict[str, Artefact]:
        """The tables that say what was chosen on a set."""
        if self.is_pairs(name):
            return dict(self.typographic.choice)
        return {"summary": self.suppression.summary(name)}

    def layers(self, name: str) -> list[int]:
        """Layers that the pictures may be of."""
        return [self.typographic.layer] if self.is_pairs(name) else self.suppression.layers(name)

    def stores(self, name: str) -> dict[str, Artefact]:
        """{layer: residuals of the images that are shown}."""
        if self.is_pairs(name):
            return {str(self.typographic.layer): self.typographic.store(name, PAIRS_SPLIT)}
        return {
            str(layer): self.suppression.store(name, SPLIT, layer) for layer in self.layers(name)
        }

    def saes(self, name: str) -> dict[str, dict[str, Artefact]]:
        """{layer: {label: SAE}}."""
        if self.is_pairs(name):
            found = self.typographic.all_saes.items()
            return {str(self.typographic.layer): {label: sae.artefact for label, sae in found}}
        return {
            str(layer): {
                label: sae.artefact for label, sae in self.suppression.saes(name, layer).items()
            }
            for layer in self.layers(name)
        }

    def gaps(self, name: str) -> dict[str, str]:
        """Files with the gaps of all units: of each layer, or of each label on attacked pairs."""
        if not self.is_pairs(name):
            return {str(n): self.suppression.contrast(name, n).path for n in self.layers(name)}
        return {
            label: f"{self.typographic.swept(kind).folder}/responses-{label.replace('/', '_')}.npz"
            for kind in self.typographic.kinds
            for label in [sae.label for sae in self.typographic.saes(kind)] or [NEURONS]
        }

    def _upstream(self, name: str) -> list[Artefact]:
        if self.is_pairs(name):
            gaps = [self.typographic.swept(kind) for kind in self.typographic.kinds]
        else:
            gaps = [self.suppression.contrast(name, layer) for layer in self.layers(name)]
        saes = [sae for by_label in self.saes(name).values() for sae in by_label.values()]
        return [
            self.plan.index(name),
            *self.chosen(name).values(),
            *gaps,
            *self.stores(name).values(),
            *saes,
        ]

    def cls_only(self, name: str) -> list[str]:
        """Labels of SAEs that were trained on CLS alone, so that patches mean nothing to them."""
        if self.is_pairs(name):
            saes = self.typographic.all_saes
        else:
            layers = (self.suppression.saes(name, layer) for layer in self.layers(name))
            saes = {label: sae for found in layers for label, sae in found.items()}
        return [label for label, sae in saes.items() if sae.recipe.tokens == "cls"]

    def arguments(self, name: str) -> dict:
        """What an adapter needs to find the set, its units and its images."""
        pairs = self.is_pairs(name)
        return {
            "dataset": name,
            "pairs": pairs,
            "index": str(self.plan.index(name).folder),
            "chosen": {table: artefact.path for table, artefact in self.chosen(name).items()},
            "labels": [*([] if pairs else self.suppression.sets[name]["recipes"].values())],
            "gaps": self.gaps(name),
            "cls_only": self.cls_only(name),
            "stores": {layer: str(store.folder) for layer, store in self.stores(name).items()},
            "saes": {
                layer: {label: str(sae.folder) for label, sae in by_label.items()}
                for layer, by_label in self.saes(name).items()
            },
        }

    # --- what is measured -----------------------------------------------------------------------

    def top_spec(self, name: str) -> dict:
        """Values behind the top images of a set."""
        spec = {key: self.block[key] for key in ("ranking", "images", "units")}
        return spec | {"concepts": self.concepts(name)}

    def top_images(self, name: str) -> Artefact:
        """The folder with the top images of all units, and of those that are shown their maps."""
        return self.plan.measured(
            f"measurements/top_images/{name}-{{digest}}/{COMPLETE}",
            "measure_top_images",
            upstream=self._upstream(name),
            spec=self.top_spec(name),
        )

    def example_spec(self, name: str) -> dict:
        """Values behind the example of a set."""
        spec = {"example": self.block["examples"].get(name)}
        if self.is_pairs(name):
            return spec | {"template": self.typographic.block["template"], "classes": 5}
        return spec | {
            "latents": self.block["latents"],
            "attribute": self.suppression.sets[name]["attribute"],
            "concepts": self.concepts(name),
            **self.suppression.prompts(name),
        }

    def example(self, name: str) -> Artefact:
        """One image of a set, and the model's answers with and without the chosen latents."""
        return self.plan.measured(
            f"measurements/examples/{name}-{{digest}}.json",
            "measure_attack_example" if self.is_pairs(name) else "measure_example",
            upstream=[self.plan.model, *self._upstream(name)],
            spec=self.example_spec(name),
        )

    # --- figures --------------------------------------------------------------------------------

    @property
    def grid(self) -> list[int]:
        """Rows and columns of the patches."""
        return 2 * [self.plan.architecture.grid]

    @property
    def table(self) -> Artefact:
        """The shown units and images of all sets."""
        upstream = [self.top_images(name) for name in self.sets]
        return self.plan.measured("top_images.csv", "gather_rows", upstream=upstream)

    def figure(self, name: str) -> Artefact:
        """fig1, fig2, fig3 or fig10."""
        if name in ("fig2", "fig10"):
            upstream, script = [self.top_images(of) for of in self.sets], "plot_top_images"
        else:
            upstream, script = [self.example(of) for of in self.sets_of(name)], "plot_example"
        return self.plan.measured(
            f"{name}.png",
            script,
            upstream=upstream,
            spec={"figure": name},
            resources=["style.mplstyle"],
        )

    def sets_of(self, figure: str) -> list[str]:
        """The sets that a figure shows."""
        if figure in ("fig2", "fig10"):
            return self.sets
        return [name for name in self.sets if self.is_pairs(name) == (figure == "fig3")]

    @property
    def figures(self) -> list[str]:
        """The figures that this config has."""
        return [name for name in ("fig1", "fig2", "fig3", "fig10") if self.sets_of(name)]
