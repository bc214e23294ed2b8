"""Content from outside: CLIP's weights become a fingerprint, data sets become manifests.

A made set (drawn, attacked, augmented) is made first and then listed like any other.
"""

from collections.abc import Mapping
from functools import cached_property

from clip_sae.planning.artefacts import COMPLETE, Artefact
from clip_sae.planning.config import model_architecture
from clip_sae.planning.reads import Clip, Images, Inside, Outside
from clip_sae.planning.steps import Rule, once
from clip_sae.planning.versions import ATTACK_VERSION, DRAW_VERSION, INDEX_VERSION, PRETRAIN_VERSION

RUN = "clip_sae.datasets.step"
PAIRS = "pairs"  # folder of the images of an attacked copy

FINGERPRINT = Rule(
    "fingerprint_model",
    f"fingerprints/{{weights}}-{{digest}}/{COMPLETE}",
    "clip_sae.clip.fingerprint:fingerprint_model",
)
DRAW_WORLD = Rule(
    "draw_world", f"world/{{drawn}}-{{digest}}/{COMPLETE}", f"{RUN}:draw_world", stage="draw"
)
ATTACK = Rule(
    "attack_images",
    f"world/{{attacked}}-{{digest}}/{COMPLETE}",
    f"{RUN}:attack_images",
    stage="attack",
)
INDEX = Rule(
    "index_images",
    f"datasets/{{dataset}}-{{digest}}/{COMPLETE}",
    f"{RUN}:index_images",
    beside=(
        "datasets/{dataset}-{digest}/manifest.csv",
        "datasets/{dataset}-{digest}/classes.csv",
    ),
    stage="index",
)
DEMO_CLIP_FILES = (
    "open_clip_model.safetensors",
    "open_clip_config.json",
    "vocabulary.json",
    "CARD.md",
)
DEMO_CLIP = Rule(
    "demo_clip",
    f"demo_clip/{COMPLETE}",
    "clip_sae_demo.step:demo_clip",
    beside=tuple(f"demo_clip/{name}" for name in DEMO_CLIP_FILES),
)
SUMMARY = Rule("summarise_datasets", "datasets.csv", "clip_sae.datasets.summary:summarise_datasets")


class Sources:
    """Weights and data sets of a plan."""

    # --- weights --------------------------------------------------------------------------------

    @cached_property
    def clip(self) -> Clip:
        """The CLIP of the config."""
        return self.weights(self.config["model"])

    @property
    def model(self) -> Artefact:
        """The fingerprint of the CLIP weights."""
        return self.clip.artefact

    def weights(self, block: Mapping, prefix: str = "model-") -> Clip:
        """A CLIP's weights by their config block, which has `name`, `model` and `pretrained`."""
        name = f"{prefix}{block['name']}"
        return Clip(
            self.step(
                FINGERPRINT,
                values=dict(block),
                version={},
                source=f"model:{block['name']}",
                weights=name,
            )
        )

    @cached_property
    def architecture(self):
        """Sizes of the image tower."""
        return model_architecture(self.config)

    @property
    def grid(self) -> list[int]:
        """Rows and columns of the patches."""
        return 2 * [self.architecture.grid]

    # --- data sets ------------------------------------------------------------------------------

    @once
    def drawn(self, dataset: str) -> Artefact | None:
        """The drawn demo set, or None where the data come from outside."""
        draw = self.config["datasets"][dataset]["draw"]
        if draw is None:
            return None
        return self.step(DRAW_WORLD, values=draw, version={"version": DRAW_VERSION}, drawn=dataset)

    @once
    def attacked(self, dataset: str) -> Artefact | None:
        """The attacked copy of another set, or None where the data are no such copy."""
        attack = self.config["datasets"][dataset]["attack"]
        if attack is None:
            return None
        return self.step(
            ATTACK,
            reads={"images": self.images(attack["dataset"])},
            values={key: attack[key] for key in ("splits", "seed", "font_size")},
            recorded={"dataset": attack["dataset"], "decoding": self._decoding},
            version={"version": ATTACK_VERSION},
            attacked=dataset,
        )

    @property
    def _decoding(self) -> dict:
        """How any image becomes pixels, as extraction decodes it."""
        block = self.config["activations"]
        return {
            "image_size": self.architecture.image_size,
            "preprocess": block["preprocess"],
            "exif": block["exif"],
        }

    @once
    def images(self, dataset: str) -> Images:
        """The images of a data set, decoded as extraction decodes them."""
        limit = {"max_pixels": self.config["datasets"][dataset]["max_pixels"]}
        return Images(dataset, self.index(dataset), self.root(dataset), {**self._decoding, **limit})

    @once
    def root(self, dataset: str) -> Inside | Outside:
        """The folder that a manifest's paths are relative to."""
        block = self.config["datasets"][dataset]
        if block["augment"] is not None:
            return self.root(block["augment"]["dataset"])
        if block["attack"] is not None:
            return Inside(self.attacked(dataset), PAIRS)
        if block["draw"] is not None:
            return Inside(self.drawn(dataset), block["draw"]["world"])
        return Outside(block["root"])

    @once
    def index(self, dataset: str) -> Artefact:
        """The manifest of a data set: manifest.csv and classes.csv, next to COMPLETE.json."""
        block = self.config["datasets"][dataset]
        augment = block["augment"]
        reads = {"root": self.root(dataset)}
        extra = {}
        if augment is not None:
            reads = {"photographs": self.index(augment["dataset"])}
            extra = {"augment": augment}
        keys = ("kind", "on_bad_image", "max_pixels", "fingerprint", "options")
        return self.step(
            INDEX,
            reads=reads,
            values={"name": dataset} | {key: block[key] for key in keys} | extra,
            recorded={"root": block["root"]},
            version={"version": INDEX_VERSION},
            source=f"dataset:{dataset}",
            dataset=dataset,
        )

    def declare_sources(self) -> None:
        """Declare the steps of the model, of all data sets, and their table."""
        self.clip  # noqa: B018
        self.step(DEMO_CLIP, values={"seed": 0}, version={"version": PRETRAIN_VERSION})
        indices = {name: self.index(name) for name in sorted(self.config["datasets"])}
        self.want("all", self.step(SUMMARY, reads={"datasets": indices}))
