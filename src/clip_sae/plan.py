"""The plan: from a config alone, every artefact with its path, its spec and what it comes from.

The Snakefile turns this into rules. Nothing here reads data or weights, so the whole DAG of an
experiment is known in a fraction of a second on a machine that has neither.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from clip_sae.artefacts import COMPLETE, Artefact
from clip_sae.config import model_architecture, sae_recipes
from clip_sae.config_mistakes import layer_of
from clip_sae.recipes import SaeRecipe
from clip_sae.specs import code_digest
from clip_sae.versions import (
    ATTACK_VERSION,
    DRAW_VERSION,
    EXTRACT_VERSION,
    INDEX_VERSION,
    TRAIN_VERSION,
)


@dataclass(frozen=True)
class StoreKey:
    """Which activations: one store on disk each."""

    dataset: str
    split: str
    hook: str
    layer: int


@dataclass(frozen=True)
class PlannedSae:
    """One SAE: its recipe, where its weights lie, and the store it is trained on."""

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


@dataclass(frozen=True)
class ExtractionJob:
    """Stores that one forward pass over one split fills.

    `part`: what tells it from other jobs of the same block of layers, which only stores that are
    not kept have.
    """

    dataset: str
    split: str
    block: int
    part: str
    stores: tuple[StoreKey, ...]

    @property
    def name(self) -> str:
        return f"{self.dataset}_{self.split}_block{self.block}{self.part}"


class Plan:
    """All artefacts of a validated config (`clip_sae.config.validate_config`).

    Args:
        config: the validated config.
        workflow: the folder that holds rules/, scripts/ and resources/.
        src: the folder that holds the package, for code digests.
    """

    def __init__(self, config: Mapping, *, workflow: Path, src: Path) -> None:
        self.config = config
        self.results = config["results"].rstrip("/")
        self.workflow = Path(workflow)
        self.src = Path(src)
        self._stores: dict[StoreKey, Artefact] = {}  # in the order in which they were asked for
        self.parts: dict[StoreKey, str] = {}  # of stores that are not extracted with their block
        self._saes: dict[tuple[str, int], list[PlannedSae]] = {}
        self._code: dict[tuple[str, ...], str] = {}

    # --- content from outside ---------------------------------------------------------------

    @cached_property
    def model(self) -> Artefact:
        """The fingerprint of the CLIP weights."""
        block = self.config["model"]
        return Artefact(
            path=f"{self.results}/fingerprints/model-{block['name']}-{{digest}}/{COMPLETE}",
            stage="fingerprint_model",
            spec=dict(block),
            source=f"model:{block['name']}",
        )

    @cached_property
    def architecture(self):
        """Sizes of the image tower."""
        return model_architecture(self.config)

    def drawn(self, dataset: str) -> Artefact | None:
        """The drawn demo set, or None where the data come from outside."""
        draw = self.config["datasets"][dataset]["draw"]
        if draw is None:
            return None
        return Artefact(
            path=f"{self.results}/world/{dataset}-{{digest}}/{COMPLETE}",
            stage="draw",
            spec={"version": DRAW_VERSION, **draw},
        )

    def attacked(self, dataset: str) -> Artefact | None:
        """The attacked copy of another set, or None where the data are no such copy."""
        attack = self.config["datasets"][dataset]["attack"]
        if attack is None:
            return None
        return Artefact(
            path=f"{self.results}/world/{dataset}-{{digest}}/{COMPLETE}",
            stage="attack",
            spec={"version": ATTACK_VERSION, **attack, "decoding": self.attack_decoding},
            upstream=(self.index(attack["dataset"]),),
        )

    @property
    def attack_decoding(self) -> dict:
        """How the images that are attacked become pixels: as extraction decodes them."""
        block = self.config["activations"]
        return {
            "image_size": self.architecture.image_size,
            "preprocess": block["preprocess"],
            "exif": block["exif"],
        }

    def decoding(self, dataset: str) -> dict:
        """How images of a data set become pixels, as extraction decodes them."""
        return self.attack_decoding | {"max_pixels": self.config["datasets"][dataset]["max_pixels"]}

    def pixels(self, dataset: str) -> dict:
        """Where the images of a data set are, and how they are decoded."""
        return {
            "index": str(self.index(dataset).folder),
            "root": self.data_root(dataset),
            "decoding": self.decoding(dataset),
        }

    def data_root(self, dataset: str) -> str:
        """The folder that a manifest's paths are relative to."""
        augment = self.config["datasets"][dataset]["augment"]
        if augment is not None:
            return self.data_root(augment["dataset"])
        attacked = self.attacked(dataset)
        if attacked is not None:
            return f"{attacked.folder}/pairs"
        drawn = self.drawn(dataset)
        if drawn is None:
            return self.config["datasets"][dataset]["root"]
        return f"{drawn.folder}/{self.config['datasets'][dataset]['draw']['world']}"

    def index(self, dataset: str) -> Artefact:
        """The manifest of a data set; manifest.csv and classes.csv lie beside its COMPLETE.json."""
        block = self.config["datasets"][dataset]
        made = self.drawn(dataset) or self.attacked(dataset)
        if block["augment"] is not None:
            made = self.index(block["augment"]["dataset"])
        keys = ("kind", "root", "on_bad_image", "max_pixels", "fingerprint", "options")
        return Artefact(
            path=f"{self.results}/datasets/{dataset}-{{digest}}/{COMPLETE}",
            stage="index",
            spec={"version": INDEX_VERSION, "name": dataset}
            | {key: block[key] for key in keys}
            | _unless_default(block, "augment", None),
            upstream=(made,) if made else (),
            source=f"dataset:{dataset}",
        )

    # --- activations ------------------------------------------------------------------------

    def store(self, key: StoreKey) -> Artefact:
        """The store of one (data set, split, hook, layer); asking for it makes it wanted."""
        if key not in self._stores:
            block = self.config["activations"]
            self._stores[key] = Artefact(
                path=(
                    f"{self.results}/activations/{self.config['model']['name']}/"
                    f"{key.dataset}-{key.split}/{key.hook}-L{key.layer:02d}-{{digest}}/{COMPLETE}"
                ),
                stage="extract",
                spec=self._token_spec(key) | _unless_default(block, "compression", "none"),
                upstream=(self.model, self.index(key.dataset)),
            )
        return self._stores[key]

    def _token_spec(self, key: StoreKey) -> dict:
        """All values that decide the tokens of a store, and their order."""
        block = self.config["activations"]
        keys = ("preprocess", "exif", "dtype", "chunk_mb", "min_shards", "permute_seed")
        place = {"split": key.split, "hook": key.hook, "layer": key.layer}
        return {"version": EXTRACT_VERSION, **place} | {name: block[name] for name in keys}

    @property
    def stores(self) -> dict[StoreKey, Artefact]:
        """The stores wanted so far."""
        return dict(self._stores)

    @property
    def temporary(self) -> bool:
        """Whether stores are deleted when all that reads them is made."""
        block = self.config["activations"]
        return block["temporary"] or block["layers_at_once"] is not None

    def extraction_jobs(self) -> list[ExtractionJob]:
        """Group the wanted stores: one job per block of layers of a split, one forward pass each.

        A block is `layer // layers_per_job`, so that a new layer touches its own block only. Stores
        that are not kept are parted further (`parts`).
        """
        per_job = self.config["activations"]["layers_per_job"]
        blocks: dict[tuple, list[StoreKey]] = {}
        for key in self._stores:
            place = (key.dataset, key.split, key.layer // per_job, self.parts.get(key, ""))
            blocks.setdefault(place, []).append(key)
        return [
            ExtractionJob(*place, tuple(sorted(keys, key=lambda k: (k.layer, k.hook))))
            for place, keys in sorted(blocks.items())
        ]

    # --- SAEs -------------------------------------------------------------------------------

    def training_key(self, name: str, layer: int) -> StoreKey:
        """Which activations the SAEs of recipe `name` at `layer` are trained on."""
        block = self.config["saes"][name]
        return StoreKey(block["dataset"], block["split"], block["hook"], layer)

    def training_store(self, name: str, layer: int) -> Artefact:
        """The store that the SAEs of recipe `name` at `layer` are trained on."""
        return self.store(self.training_key(name, layer))

    def saes(self, name: str, layer: int) -> list[PlannedSae]:
        """All variants of recipe `name` at `layer`: one training job, one pass over the tokens.

        With `stream: true` they come from the images, and no store is asked for. What such an SAE
        is made from differs, so its digest does too, although its weights are the same.
        """
        if (name, layer) not in self._saes:
            self._saes[name, layer] = self._planned_saes(name, layer)
        return self._saes[name, layer]

    def _planned_saes(self, name: str, layer: int) -> list[PlannedSae]:
        key = self.training_key(name, layer)
        if self.config["saes"][name]["stream"]:
            upstream = (self.model, self.index(key.dataset))
            spec = {"version": TRAIN_VERSION, "stream": self._token_spec(key)}
        else:
            upstream = (self.training_store(name, layer),)
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

    def training_tokens(self, name: str, layer: int) -> dict:
        """Arguments of a training job that say where its tokens are: a store, or images."""
        key = self.training_key(name, layer)
        if not self.config["saes"][name]["stream"]:
            return {"store": str(self.training_store(name, layer).folder)}
        return {
            "images": {
                "model": self.config["model"],
                "index": str(self.index(key.dataset).folder),
                "root": self.data_root(key.dataset),
                "max_pixels": self.config["datasets"][key.dataset]["max_pixels"],
                "tokens": self._token_spec(key),
            }
        }

    def layer_of(self, block: Mapping) -> int:
        """The layer of an analysis of one SAE; the last but one where its block names none."""
        return layer_of(block, self.architecture)

    def sae_of(self, block: Mapping) -> PlannedSae:
        """The SAE of an analysis of one SAE; of a recipe that sweeps, the first variant."""
        return self.saes(block["recipe"], self.layer_of(block))[0]

    @property
    def interval_spec(self) -> dict:
        """Values behind every bootstrap interval."""
        resamples = self.config["analyses"]["bootstrap_resamples"]
        return {"resamples": resamples, "seed": self.config["seed"]}

    def layers(self, name: str) -> list[int]:
        """The layers of recipe `name`, ascending."""
        return sorted(self.config["saes"][name]["layers"])

    def all_saes(self, name: str) -> list[PlannedSae]:
        """All SAEs of recipe `name`: every layer, every variant."""
        return [sae for layer in self.layers(name) for sae in self.saes(name, layer)]

    # --- analyses, figures, tables ----------------------------------------------------------

    def evaluation_stores(self, hook: str, layer: int) -> dict[str, Artefact]:
        """What an SAE of `hook` is evaluated on: its own hook, and the residual to run on from."""
        block = self.config["analyses"]["reconstruction"]
        return self._stores_of(block["dataset"], block["split"], hook, layer)

    def _stores_of(self, dataset: str, split: str, hook: str, layer: int) -> dict[str, Artefact]:
        hooks = sorted({"resid_post", hook})
        return {name: self.store(StoreKey(dataset, split, name, layer)) for name in hooks}

    def _readout_spec(self) -> dict:
        """Values behind a measured cross-entropy and its interval."""
        return {
            "templates": self.config["zeroshot"]["templates"],
            "resamples": self.config["analyses"]["bootstrap_resamples"],
            "seed": self.config["seed"],
        }

    def reconstruction(self, name: str, layer: int) -> Artefact:
        """The rows of Tables 3 and 4 of recipe `name` at `layer`, all its variants."""
        hook = self.config["saes"][name]["hook"]
        return self.measured(
            f"measurements/reconstruction/{name}-L{layer:02d}-{{digest}}.csv",
            "measure_reconstruction",
            upstream=[
                self.model,
                self.index(self.config["analyses"]["reconstruction"]["dataset"]),
                *self.evaluation_stores(hook, layer).values(),
                *(sae.artefact for sae in self.saes(name, layer)),
            ],
            spec=self._readout_spec(),
        )

    def frontier_stores(self, hook: str, layer: int) -> dict[str, Artefact]:
        """What the frontier's SAEs are evaluated on: their own hook, and the residual."""
        block = self.config["analyses"]["frontier"]
        return self._stores_of(block["dataset"], block["split"], hook, layer)

    def frontier(self, name: str) -> Artefact:
        """The frontier's rows of recipe `name`: one per SAE."""
        [layer] = self.layers(name)
        hook = self.config["saes"][name]["hook"]
        return self.measured(
            f"measurements/frontier/{name}-{{digest}}.csv",
            "measure_frontier",
            upstream=[
                self.model,
                self.index(self.config["analyses"]["frontier"]["dataset"]),
                *self.frontier_stores(hook, layer).values(),
                *(sae.artefact for sae in self.saes(name, layer)),
            ],
            spec=self._readout_spec(),
        )

    def code(self, script: str, resources: Iterable[str] = ()) -> str:
        """Digest of a script's code with all local modules, and of the resources it reads."""
        key = (script, *resources)
        if key not in self._code:
            files = [self.workflow / "scripts" / f"{script}.py"]
            files += [self.workflow / "resources" / name for name in key[1:]]
            self._code[key] = code_digest((), self.src, files)
        return self._code[key]

    def measured(
        self,
        path: str,
        script: str,
        *,
        upstream: Iterable[Artefact],
        spec: Mapping | None = None,
        resources: Iterable[str] = (),
    ) -> Artefact:
        """An artefact of a cheap stage: `path` below the results root, made by `script`.

        It is made again when the script's code, a resource, `spec` or anything upstream changes.
        """
        return Artefact(
            path=f"{self.results}/{path}",
            stage=script,
            spec={"code": self.code(script, resources), **(spec or {})},
            upstream=tuple(upstream),
        )


def _unless_default(block: Mapping, key: str, default: object) -> dict:
    """A key that came later: artefacts made with its default keep their digests."""
    return {} if block[key] == default else {key: block[key]}
