"""Activations: one store for each data set, split, hook and layer; one pass fills several."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from clip_sae.planning.artefacts import COMPLETE, Artefact
from clip_sae.planning.reads import artefacts_of
from clip_sae.planning.steps import Rule, Step
from clip_sae.planning.versions import EXTRACT_VERSION

EXTRACT = Rule(
    "extract",
    f"activations/{{model}}/{{dataset}}-{{split}}/{{hook}}-L{{layer}}-{{digest}}/{COMPLETE}",
    "clip_sae.extraction.step:extract_activations",
    split="extraction",
    records=True,
)


@dataclass(frozen=True)
class StoreKey:
    """The activations of one store on disk."""

    dataset: str
    split: str
    hook: str
    layer: int


@dataclass(frozen=True)
class ExtractionJob:
    """Stores that one forward pass over one split fills.

    `part`: distinguishes jobs of the same group of layers, if stores are deleted after use.
    """

    dataset: str
    split: str
    block: int
    part: str
    stores: tuple[StoreKey, ...]

    @property
    def name(self) -> str:
        return f"{self.dataset}_{self.split}_block{self.block}{self.part}"


class Stores:
    """Activation stores of a plan."""

    def store(self, key: StoreKey) -> Artefact:
        """Return the store of one (data set, split, hook, layer)."""
        if key not in self._stores:
            section = self.config["activations"]
            self._stores[key] = Artefact(
                path=(
                    f"{self.results}/activations/{self.config['model']['name']}/"
                    f"{key.dataset}-{key.split}/{key.hook}-L{key.layer:02d}-{{digest}}/{COMPLETE}"
                ),
                stage="extract",
                spec=self.token_spec(key) | _unless_default(section, "compression", "none"),
                upstream=(self.model, self.index(key.dataset)),
            )
        return self._stores[key]

    def token_spec(self, key: StoreKey) -> dict:
        """Return all values that decide the tokens of a store, and their order."""
        section = self.config["activations"]
        keys = ("preprocess", "exif", "dtype", "chunk_mb", "min_shards", "permute_seed")
        which = {"split": key.split, "hook": key.hook, "layer": key.layer}
        return {"version": EXTRACT_VERSION, **which} | {name: section[name] for name in keys}

    @property
    def stores(self) -> dict[StoreKey, Artefact]:
        """The stores that some step reads, in the order of the steps."""
        known = {artefact.path: key for key, artefact in self._stores.items()}
        read = (a for step in self.steps.values() for a in artefacts_of(step.reads))
        paths = dict.fromkeys(a.path for a in read if a.path in known)
        return {known[path]: self._stores[known[path]] for path in paths}

    @property
    def temporary(self) -> bool:
        """True if stores are deleted when all their readers are made."""
        section = self.config["activations"]
        return section["temporary"] or section["layers_at_once"] is not None

    def extraction_jobs(self, parts: Mapping[StoreKey, str] | None = None) -> list[ExtractionJob]:
        """Group the stores that steps read: one job per group of layers of a split.

        A group is `layer // layers_per_job`, so that a new layer touches its own group only.

        Args:
            parts: {store: name} if stores of a group need separate passes.
        """
        per_job = self.config["activations"]["layers_per_job"]
        blocks: dict[tuple, list[StoreKey]] = {}
        for key in self.stores:
            part = (parts or {}).get(key, "")
            group = (key.dataset, key.split, key.layer // per_job, part)
            blocks.setdefault(group, []).append(key)
        return [
            ExtractionJob(*group, tuple(sorted(keys, key=lambda k: (k.layer, k.hook))))
            for group, keys in sorted(blocks.items())
        ]

    def extraction_step(self, job: ExtractionJob) -> Step:
        """Declare the step of one pass, once all steps that read stores are declared."""
        return self.job(
            EXTRACT,
            f"extract_{job.name}",
            makes={f"{key.hook} {key.layer}": self.store(key) for key in job.stores},
            reads={"clip": self.clip, "images": self.images(job.dataset)},
        )

    def stores_of(self, dataset: str, split: str, hook: str, layer: int) -> dict[str, Artefact]:
        """Return {hook: store}: the activations of an SAE at `hook`, and the residual."""
        hooks: Iterable[str] = sorted({"resid_post", hook})
        return {name: self.store(StoreKey(dataset, split, name, layer)) for name in hooks}


def _unless_default(section: Mapping, key: str, default: object) -> dict:
    """Omit a later key at its default, so that older artefacts keep their digests."""
    return {} if section[key] == default else {key: section[key]}
