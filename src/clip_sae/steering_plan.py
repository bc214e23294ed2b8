"""The steering artefacts of a plan: vocabulary, measurements per kind of unit and layer, tables.

Steering paper §6. Like `clip_sae.plan`, known from the config alone.
"""

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path

from clip_sae.artefacts import COMPLETE, Artefact
from clip_sae.plan import Plan, PlannedSae, StoreKey
from clip_sae.specs import file_sha256

DRAWN = ("random", "random_sae")  # kinds of which there are as many as one asks for
# Values behind every measurement. The mask of words is not among them: figures alone hide words.
VALUES = ("images", "sampling", "strength", "strengths", "gamma", "beta", "error")


class SteeringPlan:
    """Artefacts of `analyses.steering` of a plan's config."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.block = plan.config["analyses"]["steering"]
        self.layers = plan.layers(self.block["recipe"])
        self.kinds = ["latent", *self.block["comparisons"]]
        self._measured: dict[tuple[str, int], Artefact] = {}

    @cached_property
    def vocabulary_spec(self) -> dict:
        """What decides the vocabulary; of a file its content, where it can be read already."""
        block = self.block["vocabulary"]
        words, content = block["words"], block["sha256"]
        if content is None and isinstance(words, str) and Path(words).is_file():
            content = file_sha256(Path(words))
        return {
            "words": words,
            "content": content,
            "first": block["first"],
            "template": self.block["template"],
        }

    @cached_property
    def vocabulary(self) -> Artefact:
        """The words and their text embeddings."""
        words = self.block["vocabulary"]["words"]
        name = Path(words).stem if isinstance(words, str) else "words"
        return self.plan.measured(
            f"vocabulary/{name}-{{digest}}.npz",
            "embed_vocabulary",
            upstream=[self.plan.model],
            spec=self.vocabulary_spec,
        )

    def sae(self, layer: int) -> PlannedSae:
        """The SAE that is steered: the first variant of the recipe."""
        return self.plan.saes(self.block["recipe"], layer)[0]

    def store(self, layer: int) -> Artefact:
        """The residuals that are edited."""
        key = StoreKey(self.block["dataset"], self.block["split"], "resid_post", layer)
        return self.plan.store(key)

    def label(self, kind: str, layer: int) -> str:
        """What the units of a kind are, in tables."""
        of = self.sae(layer).label
        return {"latent": of, "random_sae": f"{of} untrained"}.get(kind, kind)

    def spec(self, kind: str, layer: int) -> dict:
        """Values behind the measurement of one kind at one layer."""
        last = layer == self.plan.architecture.n_layers - 1
        others = self.block["grid_units"] if kind == "latent" else 0
        return {
            "kind": kind,
            "n_units": self.block["baseline_units" if kind in DRAWN else "units"],
            # No block runs after the last layer, so that its grid costs little.
            "grid_units": None if last else others,
            "resamples": self.plan.config["analyses"]["bootstrap_resamples"],
            "seed": self.plan.config["seed"],
            **{name: self.block[name] for name in VALUES},
        }

    def measured(self, kind: str, layer: int) -> Artefact:
        """The folder of the tables of one kind of unit at one layer."""
        if (kind, layer) not in self._measured:
            self._measured[kind, layer] = self.plan.measured(
                f"measurements/steering/{kind}-L{layer:02d}-{{digest}}/{COMPLETE}",
                "measure_steering",
                upstream=self._inputs(layer),
                spec=self.spec(kind, layer),
            )
        return self._measured[kind, layer]

    def arguments(self, layer: int) -> dict:
        """Where all that a measurement of one layer reads lies."""
        return {
            "model": self.plan.config["model"],
            "layer": layer,
            "vocabulary": self.vocabulary.path,
            "index": str(self.plan.index(self.block["dataset"]).folder),
            "store": str(self.store(layer).folder),
            "sae": self.sae(layer).folder,
        }

    def tables(
        self, name: str, kinds: Iterable[str], ends: Mapping[str, str]
    ) -> dict[str, Artefact]:
        """Tables of all layers and some kinds, at the results root: those of `ends`, rarefaction.

        Args:
            name: start of the files' names; ends: table → end of its file's name, "units" among
                them.
        """
        parts = [self.measured(kind, layer) for kind in kinds for layer in self.layers]
        tables = {
            table: self.plan.measured(f"{name}_{end}", "gather_steering", upstream=parts)
            for table, end in ends.items()
        }
        tables["rarefaction"] = self.plan.measured(
            f"{name}_rarefaction.csv",
            "measure_rarefaction",
            upstream=[tables["units"]],
            spec={key: self.block[key] for key in ("strength", "gamma")}
            | {"seed": self.plan.config["seed"]},
        )
        return tables

    @property
    def trace_layer(self) -> int:
        traced = self.block["traced"]
        return self.layers[-1] if traced is None else traced["layer"]

    @property
    def trace_spec(self) -> dict:
        """Values behind the traces: those of the measurement, and which latents."""
        values = self.spec("latent", self.trace_layer)
        traced = self.block["traced"]
        return values | {"units": None if traced is None else traced["units"]}

    @cached_property
    def traces(self) -> Artefact:
        """Chosen latents along the strength."""
        layer = self.trace_layer
        return self.plan.measured(
            "steering_traces.csv",
            "measure_traces",
            upstream=[*self._inputs(layer), self.measured("latent", layer)],
            spec=self.trace_spec,
        )

    def _inputs(self, layer: int) -> list[Artefact]:
        index = self.plan.index(self.block["dataset"])
        sae = self.sae(layer).artefact
        return [self.plan.model, index, self.store(layer), sae, self.vocabulary]
