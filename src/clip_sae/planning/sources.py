"""Content from outside: CLIP's weights become a fingerprint, data sets become manifests.

A made set (`planning.kinds.Maker`) is made first and then listed like any other.
"""

from collections.abc import Mapping
from functools import cached_property

from clip_sae.planning.artefacts import COMPLETE, Artefact
from clip_sae.planning.config import model_architecture
from clip_sae.planning.kinds import maker_of
from clip_sae.planning.plugins import STEPS, load_plugins
from clip_sae.planning.reads import Clip, Images, Inside, Outside
from clip_sae.planning.steps import Rule, once
from clip_sae.planning.versions import INDEX_VERSION

FINGERPRINT = Rule(
    "fingerprint_model",
    f"fingerprints/{{weights}}-{{digest}}/{COMPLETE}",
    "clip_sae.clip.fingerprint:fingerprint_model",
)
INDEX = Rule(
    "index_images",
    f"datasets/{{dataset}}-{{digest}}/{COMPLETE}",
    "clip_sae.datasets.step:index_images",
    beside=(
        "datasets/{dataset}-{digest}/manifest.csv",
        "datasets/{dataset}-{digest}/classes.csv",
    ),
    stage="index",
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

    def weights(self, section: Mapping, prefix: str = "model-") -> Clip:
        """Return the CLIP of a section of the config with `name`, `model` and `pretrained`."""
        name = f"{prefix}{section['name']}"
        return Clip(
            self.step(
                FINGERPRINT,
                values=dict(section),
                version={},
                source=f"model:{section['name']}",
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

    @property
    def decoding(self) -> dict:
        """The values by which extraction, and all else, decodes images."""
        section = self.config["activations"]
        return {
            "image_size": self.architecture.image_size,
            "preprocess": section["preprocess"],
            "exif": section["exif"],
        }

    @once
    def images(self, dataset: str) -> Images:
        """Return the images of a data set, decoded as extraction decodes them."""
        limit = {"max_pixels": self.config["datasets"][dataset]["max_pixels"]}
        return Images(dataset, self.index(dataset), self.root(dataset), {**self.decoding, **limit})

    @once
    def made_set(self, dataset: str) -> Artefact | None:
        """Return the artefact that holds a made set's files; None for a set without files made."""
        entry = self.config["datasets"][dataset]
        maker = maker_of(entry)
        return maker and maker.made(self, dataset, entry[maker.section])

    @once
    def root(self, dataset: str) -> Inside | Outside:
        """Return the folder that a manifest's paths are relative to."""
        entry = self.config["datasets"][dataset]
        maker = maker_of(entry)
        if maker is None:
            return Outside(entry["root"])
        return maker.root(self, dataset, entry[maker.section])

    @once
    def index(self, dataset: str) -> Artefact:
        """Return the manifest of a data set: manifest.csv and classes.csv next to COMPLETE.json."""
        entry = self.config["datasets"][dataset]
        maker = maker_of(entry)
        keys = ["kind", "on_bad_image", "max_pixels", "fingerprint", "options"]
        reads = maker and maker.listed_from(self, entry[maker.section])
        if reads is None:  # a loader lists the files
            reads = {"root": self.root(dataset)}
        else:
            keys.append(maker.section)
        return self.step(
            INDEX,
            reads=reads,
            values={"name": dataset} | {key: entry[key] for key in keys},
            recorded={"root": entry["root"]},
            version={"version": INDEX_VERSION},
            source=f"dataset:{dataset}",
            dataset=dataset,
        )

    def declare_sources(self) -> None:
        """Declare the steps of the model, of all data sets and of plug-ins, and the sets' table."""
        self.clip  # noqa: B018
        load_plugins()
        for declare in STEPS:
            declare(self)
        indices = {name: self.index(name) for name in sorted(self.config["datasets"])}
        self.want("all", self.step(SUMMARY, reads={"datasets": indices}))
