"""Steps of `analyses.adaptation`: learned prompts, their stores, answers, the table and the figure.

PatchSAE §5. Other analyses use `Adaptation`.
"""

from collections.abc import Iterable, Mapping

from clip_sae.analyses.adaptation.keys import FROZEN
from clip_sae.planning.artefacts import COMPLETE, Artefact
from clip_sae.planning.plan import Plan, Rule, Step
from clip_sae.planning.reads import Clip, Inside, artefacts_of
from clip_sae.planning.steps import once
from clip_sae.planning.versions import ADAPT_VERSION, EXTRACT_VERSION

RUN = "clip_sae.analyses.adaptation"
CHECKPOINT = "checkpoint"
WEIGHTS = "prompts.safetensors"  # next to the COMPLETE.json of a training

TRAIN = Rule(
    "train_adaptation",
    f"adaptation/{{dataset}}/{{method}}-seed{{seed}}-{{digest}}/{COMPLETE}",
    f"{RUN}.train:train_adaptation",
)
EXTRACT = Rule(
    "extract_adapted",
    f"activations/{{adapted}}/{{dataset}}-{{split}}/{{hook}}-L{{layer}}-{{digest}}/{COMPLETE}",
    f"{RUN}.train:extract_adapted",
    records=True,
)
EVALUATE = Rule(
    "evaluate_adaptation",
    "measurements/adaptation/{dataset}-{method}-{digest}.csv",
    f"{RUN}.measure:evaluate_adaptation",
)
SUMMARISE = Rule(
    "summarise_adaptation",
    {"accuracies": "adaptation.csv", "runs": "adaptation_runs.csv"},
    f"{RUN}.measure:summarise_adaptation",
)
TARGET = "adaptation"


def steps(plan: Plan) -> "Adaptation | None":
    """Declare trainings, stores, answers and the final files; return the models."""
    section = plan.analysis("adaptation")
    if section is None:
        return None
    adaptation = Adaptation(plan, section)
    for extraction in adaptation.extractions:
        plan.want(TARGET, *extraction.artefacts)
    tables = plan.step(
        SUMMARISE,
        reads={
            "answers": {
                dataset: {
                    method: adaptation.answers(dataset, method) for method in adaptation.kinds
                }
                for dataset in adaptation.datasets
            },
            "indices": {dataset: plan.index(dataset) for dataset in adaptation.datasets},
        },
        values=plan.intervals,
    )
    plan.want(TARGET, *tables.values())
    plan.render(
        "adaptation",
        f"{RUN}.render:accuracy_table",
        reads={"csv": tables["accuracies"]},
        values={
            "model": plan.clip.facts["name"],
            "shots": section["shots"],
            "kinds": adaptation.kinds,
        },
        target=TARGET,
        formats=["md"],
    )
    plan.draw(
        "adaptation",
        f"{RUN}.draw:accuracies",
        reads=tables,
        values={"kinds": adaptation.kinds},
        target=TARGET,
    )
    return adaptation


def extractions(plan: Plan) -> list[Step]:
    """Return the passes that fill stores of adapted models; none without such stores."""
    adaptation = plan.of("adaptation")
    return [] if adaptation is None else adaptation.extractions


class Adaptation:
    """The adapted models of a plan.

    Attributes:
        datasets, methods: sections of the config, by name.
        kinds: {method: none, coop, vpt, maple or checkpoint}, the frozen model first.
    """

    def __init__(self, plan: Plan, section: Mapping) -> None:
        self.plan, self.section = plan, section
        self.datasets: Mapping[str, Mapping] = section["datasets"]
        self.methods: Mapping[str, Mapping] = section["methods"]
        self.kinds = {FROZEN: FROZEN} | {name: m["kind"] for name, m in self.methods.items()}

    def seeds(self, method: str) -> list[int]:
        """Return the seeds of a method's trainings; [0] for a model that is not trained here."""
        trained = self.kinds[method] not in (FROZEN, CHECKPOINT)
        return list(self.section["seeds"]) if trained else [0]

    # --- models ---------------------------------------------------------------------------------

    @once
    def trained(self, dataset: str, method: str, seed: int) -> Artefact:
        """Return the folder of trained prompts."""
        section, images = self.methods[method], self.plan.images(dataset)
        return self.plan.step(
            TRAIN,
            reads={"clip": self.plan.clip, "images": images},
            values={
                "method": {**section, "depth": section["depth"] or self.plan.architecture.n_layers},
                "template": self.datasets[dataset]["template"],
                "split": self.datasets[dataset]["train"],
                "shots": self.section["shots"],
                "seed": seed,
            },
            recorded={"decoding": images.decoding},
            version={"version": ADAPT_VERSION},
            dataset=dataset,
            method=method,
            seed=str(seed),
        )

    @once
    def checkpoint(self, method: str) -> Clip:
        """Return the weights of a fine-tuned checkpoint."""
        section = self.methods[method]
        model = section["model"] or self.plan.config["model"]["model"]
        source = {"model": model, "pretrained": section["pretrained"]}
        return self.plan.weights({"name": f"adapted-{method}", **source}, prefix="")

    def models(self, dataset: str, method: str, seeds: Iterable[int] | None = None) -> dict:
        """Return the models of a method, as `shared.adapted.load_adapted` takes them.

        Args:
            seeds: by default all.
        """
        seeds = self.seeds(method) if seeds is None else seeds
        return {
            "template": self.datasets[dataset]["template"],
            "seeds": {str(seed): self._model(dataset, method, seed) for seed in seeds},
        }

    def _model(self, dataset: str, method: str, seed: int) -> Inside | Clip | None:
        """Return a file of prompts, the weights of a checkpoint, or None for the frozen model."""
        if self.kinds[method] == FROZEN:
            return None
        if self.kinds[method] == CHECKPOINT:
            return self.checkpoint(method)
        return Inside(self.trained(dataset, method, seed), WEIGHTS)

    # --- stores ---------------------------------------------------------------------------------

    @property
    def stored(self) -> list[tuple[str, str, int]]:
        """(data set, method, seed) of the models whose residuals the config stores."""
        section = self.section["stores"]
        if section is None:
            return []
        methods = list(self.methods) if section["methods"] is None else section["methods"]
        return [
            (dataset, method, seed)
            for dataset in self.datasets
            for method in methods
            for seed in self.seeds(method)
            if section["seeds"] is None
            or seed in section["seeds"]
            or self.kinds[method] == CHECKPOINT
        ]

    @property
    def extractions(self) -> list[Step]:
        """The passes that fill the stores: one for each of `stored`."""
        return [self.extraction(*which) for which in self.stored]

    @once
    def extraction(self, dataset: str, method: str, seed: int) -> Step:
        """Declare one forward pass over the test images, which fills a store for each layer."""
        reads = {
            "clip": self.plan.clip,
            "images": self.plan.images(dataset),
            "adapted": self.models(dataset, method, [seed]),
        }
        activations = self.plan.config["activations"]
        keys = ("dtype", "chunk_mb", "min_shards", "permute_seed", "compression")
        split = self.datasets[dataset]["test"]
        spec = {"version": EXTRACT_VERSION, "adapt_version": ADAPT_VERSION}
        spec |= {"split": split, "hook": "resid_post", "decoding": reads["images"].decoding}
        spec |= {key: activations[key] for key in keys}
        folder = (
            f"{self.plan.results}/activations/{self.plan.config['model']['name']}-{method}-"
            f"seed{seed}/{dataset}-{split}"
        )
        stores = {
            f"resid_post {layer}": Artefact(
                path=f"{folder}/resid_post-L{layer:02d}-{{digest}}/{COMPLETE}",
                stage=EXTRACT.stage,
                spec={**spec, "layer": layer},
                upstream=tuple(artefacts_of(reads)),
            )
            for layer in self.section["stores"]["layers"]
        }
        name = f"extract_adapted_{dataset}_{method}_{seed}"
        return self.plan.job(EXTRACT, name, makes=stores, reads=reads)

    # --- answers --------------------------------------------------------------------------------

    @once
    def answers(self, dataset: str, method: str) -> Artefact:
        """Return the answers of all seeds of a method on the test images."""
        return self.plan.step(
            EVALUATE,
            reads={
                "clip": self.plan.clip,
                "images": self.plan.images(dataset),
                "adapted": self.models(dataset, method),
            },
            values={"split": self.datasets[dataset]["test"]},
            dataset=dataset,
            method=method,
        )
