"""Sparse autoencoders: every recipe at every layer, all variants of a list in one pass."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from clip_sae.planning.artefacts import COMPLETE, Artefact
from clip_sae.planning.config import sae_recipes
from clip_sae.planning.mistakes import layer_of
from clip_sae.planning.reads import SaeRead
from clip_sae.planning.recipes import SaeRecipe
from clip_sae.planning.steps import Rule, Step
from clip_sae.planning.stores import StoreKey
from clip_sae.planning.versions import TRAIN_VERSION

TRAIN = Rule(
    "train_sae",
    f"saes/{{recipe}}/L{{layer}}/{{variant}}-{{digest}}/{COMPLETE}",
    "clip_sae.training.step:train_sae",
    stage="train",
    records=True,
)


@dataclass(frozen=True)
class PlannedSae:
    """One SAE: its recipe, its layer, and the artefact of its weights."""

    name: str
    variant: str
    layer: int
    hook: str
    recipe: SaeRecipe
    artefact: Artefact

    @property
    def folder(self) -> str:
        return str(self.artefact.folder)

    @property
    def label(self) -> str:
        """Name in figures: the recipe, and the variant where it has several."""
        return self.name if self.variant == "base" else f"{self.name}/{self.variant}"

    @cached_property
    def read(self) -> SaeRead:
        """The SAE as a read of a step."""
        names = ("name", "variant", "label", "layer", "hook")
        facts = {name: getattr(self, name) for name in names}
        return SaeRead(self.artefact, facts | {"recipe": self.recipe.to_dict()})


class Saes:
    """Trained SAEs of a plan."""

    def training_key(self, name: str, layer: int) -> StoreKey:
        """Return the store that the SAEs of recipe `name` at `layer` are trained on."""
        section = self.config["saes"][name]
        return StoreKey(section["dataset"], section["split"], section["hook"], layer)

    def saes(self, name: str, layer: int) -> list[PlannedSae]:
        """Return all variants of recipe `name` at `layer`, which one job trains in one pass.

        With `stream: true` their tokens come from the images, and no store is read. The inputs of
        such an SAE differ, so its digest does too, although its weights are the same.
        """
        if (name, layer) not in self._saes:
            self._saes[name, layer] = self._planned_saes(name, layer)
        return self._saes[name, layer]

    def _planned_saes(self, name: str, layer: int) -> list[PlannedSae]:
        key = self.training_key(name, layer)
        if self.config["saes"][name]["stream"]:
            upstream = (self.model, self.index(key.dataset))
            spec = {"version": TRAIN_VERSION, "stream": self.token_spec(key)}
        else:
            upstream = (self.store(key),)
            spec = {"version": TRAIN_VERSION}
        planned = []
        for variant, recipe in sae_recipes(self.config, name):
            artefact = Artefact(
                path=f"{self.results}/saes/{name}/L{layer:02d}/{variant}-{{digest}}/{COMPLETE}",
                stage="train",
                spec=spec | {"recipe": recipe.to_dict()},
                upstream=upstream,
            )
            planned.append(PlannedSae(name, variant, layer, key.hook, recipe, artefact))
        return planned

    def training_step(self, name: str, layer: int) -> Step:
        """Return the training of all variants of a recipe at a layer."""
        key, saes = self.training_key(name, layer), self.saes(name, layer)
        if self.config["saes"][name]["stream"]:
            reads = {"clip": self.clip, "images": self.images(key.dataset)}
        else:
            reads = {"store": self.store(key)}
        return self.job(
            TRAIN,
            f"train_{name}_L{layer:02d}",
            makes={sae.variant: sae.artefact for sae in saes},
            reads=reads,
            values={"model": self.config["model"]["name"], "hook": key.hook, "layer": layer},
            wildcards={"recipe": name, "layer": f"{layer:02d}", "variant": saes[0].variant},
        )

    def declare_saes(self) -> None:
        """Declare the training of every recipe of the config."""
        for name in self.config["saes"]:
            for layer in self.layers(name):
                self.training_step(name, layer)

    def layer_of(self, section: Mapping) -> int:
        """Return the layer of an analysis of one SAE; by default the last but one."""
        return layer_of(section, self.architecture)

    def sae_of(self, section: Mapping) -> PlannedSae:
        """Return the SAE of an analysis of one SAE; of a sweep, its first variant."""
        return self.saes(section["recipe"], self.layer_of(section))[0]

    def store_read_by(
        self, section: Mapping, sae: PlannedSae, split: str | None = None
    ) -> Artefact:
        """Return the store that an SAE reads of the images of an analysis's section.

        Args:
            split: by default that of the section.
        """
        return self.store(
            StoreKey(section["dataset"], split or section["split"], sae.hook, sae.layer)
        )

    def stores_read_by(self, section: Mapping, saes: Iterable[PlannedSae]) -> dict[str, Artefact]:
        """Return {"<hook> <layer>": store}, as `analyses.shared.sae_stores` looks them up."""
        return {f"{sae.hook} {sae.layer}": self.store_read_by(section, sae) for sae in saes}

    def reconstruction(self, section: Mapping, name: str, layer: int) -> dict[str, dict]:
        """Return `reads` and `values` of a step that measures how well SAEs reconstruct.

        The step measures all variants of recipe `name` at `layer` on the images of the section
        (`analyses.shared.reconstruction.measure_saes`).
        """
        hook = self.config["saes"][name]["hook"]
        return {
            "reads": {
                "clip": self.clip,
                "index": self.index(section["dataset"]),
                "stores": self.stores_of(section["dataset"], section["split"], hook, layer),
                "saes": self.saes(name, layer),
            },
            "values": {"templates": self.config["zeroshot"]["templates"], **self.intervals},
        }

    def layers(self, name: str) -> list[int]:
        """Return the layers of recipe `name`, ascending."""
        return sorted(self.config["saes"][name]["layers"])

    def all_saes(self, name: str) -> list[PlannedSae]:
        """Return all SAEs of recipe `name`: every layer, every variant."""
        return [sae for layer in self.layers(name) for sae in self.saes(name, layer)]

    @property
    def single_recipes(self) -> list[str]:
        """Recipes that train one SAE per layer."""
        return [name for name in self.config["saes"] if len(sae_recipes(self.config, name)) == 1]

    @property
    def list_trainings(self) -> list[Step]:
        """Training steps of recipes with lists: several SAEs in one pass."""
        return [step for step in self.all_steps if step.rule == TRAIN and len(step.makes) > 1]
