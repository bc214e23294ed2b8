"""The artefacts of `analyses.adaptation` of a plan: trained prompts, answers, table and figure.

PatchSAE §5. Like `clip_sae.plan`, known from the config alone.
"""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from clip_sae.artefacts import COMPLETE, Artefact
from clip_sae.plan import Plan
from clip_sae.versions import ADAPT_VERSION, EXTRACT_VERSION

FROZEN, CHECKPOINT = "none", "checkpoint"
WEIGHTS = "prompts.safetensors"  # beside the COMPLETE.json of a training


class AdaptationPlan:
    """Artefacts of the adaptation of a plan's config."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.block: Mapping = plan.config["analyses"]["adaptation"]
        self.datasets: Mapping[str, Mapping] = self.block["datasets"]
        self.methods: Mapping[str, Mapping] = self.block["methods"]

    def kind(self, method: str) -> str:
        """The kind of a method: none, coop, vpt, maple or checkpoint."""
        return FROZEN if method == FROZEN else self.methods[method]["kind"]

    def seeds(self, method: str) -> list[int]:
        """Seeds that a method is trained with; one 0 for what is not trained here."""
        trained = self.kind(method) not in (FROZEN, CHECKPOINT)
        return list(self.block["seeds"]) if trained else [0]

    @property
    def evaluated_methods(self) -> list[str]:
        """The frozen model, then all methods."""
        return [FROZEN, *self.methods]

    @property
    def trainings(self) -> list[tuple[str, str, int]]:
        """(data set, method, seed) of everything that is trained."""
        return [
            (dataset, method, seed)
            for dataset in self.datasets
            for method in self.methods
            if self.kind(method) != CHECKPOINT
            for seed in self.seeds(method)
        ]

    # --- training -------------------------------------------------------------------------------

    def training_spec(self, dataset: str, method: str, seed: int) -> dict:
        """Values behind trained prompts."""
        block = dict(self.methods[method])
        block["depth"] = block["depth"] or self.plan.architecture.n_layers
        return {
            "method": block,
            "template": self.datasets[dataset]["template"],
            "split": self.datasets[dataset]["train"],
            "shots": self.block["shots"],
            "seed": seed,
            "decoding": self.plan.decoding(dataset),
        }

    def trained(self, dataset: str, method: str, seed: int) -> Artefact:
        """The folder of trained prompts."""
        return Artefact(
            path=(
                f"{self.plan.results}/adaptation/{dataset}/{method}-seed{seed}-{{digest}}/"
                f"{COMPLETE}"
            ),
            stage="train_adaptation",
            spec={"version": ADAPT_VERSION} | self.training_spec(dataset, method, seed),
            upstream=(self.plan.model, self.plan.index(dataset)),
        )

    def weights(self, dataset: str, method: str, seed: int) -> str:
        """The file of trained prompts."""
        return f"{self.trained(dataset, method, seed).folder}/{WEIGHTS}"

    @cached_property
    def checkpoints(self) -> dict[str, Artefact]:
        """{method: the fingerprint of a fine-tuned checkpoint's weights}."""
        return {
            method: Artefact(
                path=f"{self.plan.results}/fingerprints/adapted-{method}-{{digest}}/{COMPLETE}",
                stage="fingerprint_model",
                spec={"name": f"adapted-{method}"} | self.source(method),
                source=f"model:adapted-{method}",
            )
            for method in self.methods
            if self.kind(method) == CHECKPOINT
        }

    def source(self, method: str) -> dict:
        """Architecture and weights of a fine-tuned checkpoint."""
        block = self.methods[method]
        model = block["model"] or self.plan.config["model"]["model"]
        return {"model": model, "pretrained": block["pretrained"]}

    # --- stores ---------------------------------------------------------------------------------

    @property
    def stored(self) -> list[tuple[str, str, int]]:
        """(data set, method, seed) whose residuals are stored; none where the config wants none."""
        block = self.block["stores"]
        if block is None:
            return []
        methods = list(self.methods) if block["methods"] is None else block["methods"]
        return [
            (dataset, method, seed)
            for dataset in self.datasets
            for method in methods
            for seed in self.seeds(method)
            if block["seeds"] is None or seed in block["seeds"] or self.kind(method) == CHECKPOINT
        ]

    def store(self, dataset: str, method: str, seed: int, layer: int) -> Artefact:
        """Residuals of the test images in an adapted model; a store as those of the frozen one."""
        activations = self.plan.config["activations"]
        keys = ("dtype", "chunk_mb", "min_shards", "permute_seed", "compression")
        split = self.datasets[dataset]["test"]
        kind = self.kind(method)
        model = [self.checkpoints[method]] if kind == CHECKPOINT else []
        trained = [self.trained(dataset, method, seed)] if kind != CHECKPOINT else []
        return Artefact(
            path=(
                f"{self.plan.results}/activations/{self.plan.config['model']['name']}-{method}-"
                f"seed{seed}/{dataset}-{split}/resid_post-L{layer:02d}-{{digest}}/{COMPLETE}"
            ),
            stage="extract_adapted",
            spec={"version": EXTRACT_VERSION, "adapt_version": ADAPT_VERSION}
            | {"split": split, "hook": "resid_post", "layer": layer}
            | {"decoding": self.plan.decoding(dataset)}
            | {key: activations[key] for key in keys},
            upstream=(self.plan.model, self.plan.index(dataset), *model, *trained),
        )

    def stores(self, dataset: str, method: str, seed: int) -> dict[int, Artefact]:
        """{layer: store} that one forward pass fills."""
        layers = self.block["stores"]["layers"]
        return {layer: self.store(dataset, method, seed, layer) for layer in layers}

    # --- answers ----------------------------------------------------------------------------------

    def adapted(self, dataset: str, method: str) -> dict:
        """What a job needs to load the models of a method: one per seed.

        {"kind": kind, "template": text, "seeds": {seed: file of prompts, or None}, "source":
        model of a checkpoint or None}.
        """
        kind = self.kind(method)
        learned = kind not in (FROZEN, CHECKPOINT)
        return {
            "kind": kind,
            "template": self.datasets[dataset]["template"],
            "seeds": {
                str(seed): self.weights(dataset, method, seed) if learned else None
                for seed in self.seeds(method)
            },
            "source": self.source(method) if kind == CHECKPOINT else None,
        }

    def made_from(self, dataset: str, method: str) -> list[Artefact]:
        """What the models of a method come from: frozen weights, and prompts or checkpoint."""
        kind = self.kind(method)
        if kind == FROZEN:
            return [self.plan.model]
        if kind == CHECKPOINT:
            return [self.plan.model, self.checkpoints[method]]
        trained = [self.trained(dataset, method, seed) for seed in self.seeds(method)]
        return [self.plan.model, *trained]

    def evaluated(self, dataset: str, method: str) -> Artefact:
        """The answers of all seeds of a method on the test images."""
        return self.plan.measured(
            f"measurements/adaptation/{dataset}-{method}-{{digest}}.csv",
            "evaluate_adaptation",
            upstream=[self.plan.index(dataset), *self.made_from(dataset, method)],
            spec={
                "template": self.datasets[dataset]["template"],
                "split": self.datasets[dataset]["test"],
                "decoding": self.plan.decoding(dataset),
            },
        )

    # --- final files ------------------------------------------------------------------------------

    @cached_property
    def answers(self) -> dict[str, dict[str, Artefact]]:
        """{data set: {method: answers}}."""
        return {
            dataset: {method: self.evaluated(dataset, method) for method in self.evaluated_methods}
            for dataset in self.datasets
        }

    @cached_property
    def tables(self) -> dict[str, Artefact]:
        """adaptation.csv with intervals, and adaptation_runs.csv with every seed."""
        upstream = [made for methods in self.answers.values() for made in methods.values()]
        spec = {
            **self.plan.interval_spec,
            # the tables hold these names
            "answers": [[dataset, [*methods]] for dataset, methods in self.answers.items()],
        }
        return {
            name: self.plan.measured(
                f"{name}.csv", "summarise_adaptation", upstream=upstream, spec=spec
            )
            for name in ("adaptation", "adaptation_runs")
        }

    @property
    def caption(self) -> dict:
        """What figure and table say of their source."""
        return {
            "model": self.plan.config["model"]["name"],
            "shots": self.block["shots"],
            "kinds": {method: self.kind(method) for method in self.evaluated_methods},
        }

    @cached_property
    def rendered(self) -> Artefact:
        """The table as Markdown."""
        return self.plan.measured(
            "adaptation.md",
            "render_adaptation",
            upstream=[self.tables["adaptation"]],
            spec=self.caption,
        )

    @cached_property
    def figure(self) -> Artefact:
        """The figure of accuracies."""
        return self.plan.measured(
            "adaptation.png",
            "plot_adaptation",
            upstream=list(self.tables.values()),
            spec=self.caption,
            resources=["style.mplstyle"],
        )

    @property
    def drawing(self) -> str:
        """The figure as SVG."""
        return str(Path(self.figure.path).with_suffix(".svg"))
