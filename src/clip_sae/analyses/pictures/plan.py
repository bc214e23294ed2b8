"""Steps of `analyses.pictures`: top images, examples, Figs 1, 2, 3 and 10.

Steering paper Figs 1 to 3 and App. 12. The chosen sets decide which layer and SAE the pictures
show, so the jobs read that when they run.
"""

from collections.abc import Mapping

from clip_sae.planning.artefacts import COMPLETE, Artefact
from clip_sae.planning.plan import Plan, PlannedSae, Rule
from clip_sae.planning.steps import once

TOP_IMAGES = Rule(
    "measure_top_images",
    f"measurements/top_images/{{dataset}}-{{digest}}/{COMPLETE}",
    "clip_sae.analyses.pictures.measure:measure_top_images",
)
# Sets with a spurious attribute and attacked pairs have functions of their own.
EXAMPLE = Rule("measure_example", "measurements/examples/{dataset}-{digest}.json")
OF_ATTRIBUTE = "clip_sae.analyses.pictures.measure_examples:measure_example"
OF_ATTACK = "clip_sae.analyses.pictures.measure_examples:measure_attack_example"
DRAW = "clip_sae.analyses.pictures.draw"
WORDS = "written words"  # the concept of attacked images
SPLIT, PAIRS_SPLIT = "test", "val"  # attacked copies have training and validation images


def steps(plan: Plan) -> "PicturesPlan | None":
    """Declare the table of the shown images and the figures that the config has."""
    if plan.analysis("pictures") is None:
        return None
    pictures = PicturesPlan(plan)
    pictures.declare()
    return pictures


class PicturesPlan:
    """Steps of `analyses.pictures` of a plan's config.

    Attributes:
        suppression, typographic: the analyses whose chosen sets are shown; None where the config
            leaves one out.
        spurious: the sets with a spurious attribute; sets: all sets whose images are shown.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.section: Mapping = plan.analysis("pictures")
        self.suppression = plan.of("suppression")
        self.typographic = plan.of("typographic")
        self.spurious: list[str] = [*self.suppression.sets] if self.suppression else []
        self.sets = self.spurious + ([self.typographic.pairs] if self.typographic else [])

    def is_pairs(self, name: str) -> bool:
        """Return True for the attacked copy."""
        return name not in self.spurious

    def concepts(self, name: str) -> dict[str, str]:
        """Return {side of the gap: text above its units}."""
        if self.is_pairs(name):
            return {"a": WORDS}
        attribute = self.suppression.sets[name]["attribute"].replace("_", " ")
        return {"a": attribute, "not_a": f"no {attribute}"} | self.section["names"].get(name, {})

    # --- reads ----------------------------------------------------------------------------------

    def reads(self, name: str) -> dict:
        """Return everything behind the chosen set of a data set, its units and its images."""
        return {"index": self.plan.index(name)} | (
            self._reads_of_pairs() if self.is_pairs(name) else self._reads_of_attribute(name)
        )

    def _reads_of_pairs(self) -> dict:
        found = self.typographic
        layer = str(found.layer)
        return {
            "chosen": found.chosen,
            "gaps": found.sweeps,
            "stores": {layer: found.store(found.pairs, PAIRS_SPLIT)},
            "saes": {layer: found.all_saes},
        }

    def _reads_of_attribute(self, name: str) -> dict:
        found, layers = self.suppression, self.suppression.layers(name)
        saes: dict[str, dict[str, PlannedSae]] = {str(n): found.saes(name, n) for n in layers}
        return {
            "chosen": {"summary": found.summary(name)},
            "gaps": {str(n): found.contrast(name, n) for n in layers},
            "stores": {str(n): found.store(name, SPLIT, n) for n in layers},
            "saes": saes,
        }

    # --- measurements ---------------------------------------------------------------------------

    @once
    def top_images(self, name: str) -> Artefact:
        """Return the folder with the top images of all units, and the maps of the shown ones."""
        return self.plan.step(
            TOP_IMAGES,
            reads=self.reads(name),
            values={
                "name": name,
                "concepts": self.concepts(name),
                "ranking": self.section["ranking"],
                "n_images": self.section["images"],
                "n_units": self.section["units"],
            },
            dataset=name,
        )

    @once
    def example(self, name: str) -> Artefact:
        """Return one image of a set, with the answers with and without the chosen latents."""
        pairs = self.is_pairs(name)
        return self.plan.step(
            EXAMPLE,
            run=OF_ATTACK if pairs else OF_ATTRIBUTE,
            reads={"clip": self.plan.clip, **self.reads(name)},
            values={
                "name": name,
                "example": self.section["examples"].get(name),
                **(
                    {"template": self.typographic.section["template"]}
                    if pairs
                    else {
                        "latents": self.section["latents"],
                        "attribute": self.suppression.sets[name]["attribute"],
                        "concepts": self.concepts(name),
                        **self.suppression.prompts(name),
                    }
                ),
            },
            dataset=name,
        )

    # --- tables and figures ---------------------------------------------------------------------

    def sets_of(self, figure: str) -> list[str]:
        """Return the sets that a figure shows."""
        if figure in ("fig2", "fig10"):
            return self.sets
        return [name for name in self.sets if self.is_pairs(name) == (figure == "fig3")]

    @property
    def figures(self) -> list[str]:
        """The figures that this config has."""
        return [name for name in ("fig1", "fig2", "fig3", "fig10") if self.sets_of(name)]

    def declare(self) -> None:
        """Declare the table of the shown images, and the figures."""
        self.plan.gather(
            "top_images.csv",
            reads={"rows": [self.top_images(name) for name in self.sets]},
            values={"file": "shown.csv"},
        )
        for figure in self.figures:
            of_top = figure in ("fig2", "fig10")
            self.plan.draw(
                figure,
                f"{DRAW}_top_images:{figure}" if of_top else f"{DRAW}:{figure}",
                reads={
                    "sets": [
                        {
                            "found": self.top_images(name) if of_top else self.example(name),
                            "images": self.plan.images(name),
                        }
                        for name in self.sets_of(figure)
                    ]
                },
                values=self._figure_values(figure),
            )

    def _figure_values(self, figure: str) -> dict:
        """Return the values of a figure's function, beyond measurements and images."""
        if figure == "fig3":
            return {}
        values = {"grid": self.plan.grid}
        if figure == "fig1":
            examples = (self.section["examples"].get(name) for name in self.sets_of(figure))
            return values | {"chosen_by_user": any(path is not None for path in examples)}
        values["n_images"] = self.section["images"]
        return values | ({"n_units": self.section["units"]} if figure == "fig10" else {})
