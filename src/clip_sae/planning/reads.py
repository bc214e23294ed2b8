"""Reads of a step: artefacts in any nesting, and the plain values its function receives for them.

A step declares its reads once. From them follow the files its job waits for, the digests that enter
its own digest, and the arguments of its function. No torch: the Snakefile imports this.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from clip_sae.planning.artefacts import COMPLETE, Artefact
from clip_sae.planning.inputs import ClipFiles, ImageFiles, SaeFiles

TAG = "__read__"  # key of a read in the JSON that a job receives


_RECEIVED = {"clip": ClipFiles, "images": ImageFiles, "sae": SaeFiles}
_PATHS = ("index", "root", "folder")


def received(value: object) -> object:
    """Turn the JSON of `as_json` back into the arguments of the function."""
    if isinstance(value, list):
        return [received(item) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value.get(TAG)
    if kind is None:
        return {key: received(item) for key, item in value.items()}
    if kind == "path":
        return Path(value["path"])
    facts = {key: Path(v) if key in _PATHS else v for key, v in value.items() if key != TAG}
    return _RECEIVED[kind](**facts)


# --- declared by a plan -------------------------------------------------------------------------


@dataclass(frozen=True)
class Inside:
    """A file or folder that an artefact's job writes into the artefact's folder."""

    artefact: Artefact
    name: str

    @property
    def path(self) -> str:
        return f"{self.artefact.folder}/{self.name}"


@dataclass(frozen=True)
class Outside:
    """A user's folder or file.

    The content of a folder enters digests through its index, that of a file as `sha256` if the file
    exists when the workflow is planned.
    """

    path: str
    sha256: str | None = None


@dataclass(frozen=True)
class Resource:
    """A file below workflow/resources. Its bytes enter the code digest of the step."""

    name: str
    path: str


@dataclass(frozen=True)
class Clip:
    """CLIP's weights: the fingerprint artefact, whose spec is the config's `model` section."""

    artefact: Artefact

    @property
    def facts(self) -> dict:
        keys = ("name", "model", "pretrained", "precision")
        return {key: self.artefact.spec[key] for key in keys if key in self.artefact.spec}


@dataclass(frozen=True)
class Images:
    """A data set's images: its index, and the folder that holds the pixels.

    The pixels of a made set are files of another artefact. The index comes from that artefact, so
    its digest stands for them, but a job that decodes images waits for the pixels as well.
    """

    name: str
    index: Artefact
    root: Inside | Outside
    decoding: Mapping


@dataclass(frozen=True)
class SaeRead:
    """One planned SAE, as `planning.saes` declares it: its artefact and the facts of `SaeFiles`."""

    artefact: Artefact
    facts: Mapping


Leaf = Artefact | Inside | Outside | Resource | Clip | Images | SaeRead


def leaves(value: object) -> Iterator[Leaf]:
    """Yield every read in a nesting of mappings and lists, in order."""
    value = _as_read(value)
    if isinstance(value, Leaf):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from leaves(item)


def _as_read(value: object) -> object:
    """Return the `read` of an object that has one, such as a planned SAE; else the object."""
    return getattr(value, "read", value) if hasattr(type(value), "read") else value


def artefacts_of(value: object) -> list[Artefact]:
    """Return the artefacts whose digests enter the step's own, each once, in order."""
    found: dict[str, Artefact] = {}
    for leaf in leaves(value):
        for artefact in _artefacts(leaf):
            found.setdefault(artefact.path, artefact)
    return list(found.values())


def waits_for(value: object) -> list[Artefact]:
    """Return the artefacts whose files the job reads: `artefacts_of`, and pixels of made sets."""
    found = {artefact.path: artefact for artefact in artefacts_of(value)}
    for leaf in leaves(value):
        if isinstance(leaf, Images) and isinstance(leaf.root, Inside):
            found.setdefault(leaf.root.artefact.path, leaf.root.artefact)
    return list(found.values())


def resources_of(value: object) -> list[str]:
    """Return the names of the resources among the reads, each once, in order."""
    names = (leaf.name for leaf in leaves(value) if isinstance(leaf, Resource))
    return list(dict.fromkeys(names))


def _artefacts(leaf: Leaf) -> tuple[Artefact, ...]:
    if isinstance(leaf, Artefact):
        return (leaf,)
    if isinstance(leaf, Images):
        return (leaf.index,)
    if isinstance(leaf, Outside | Resource):
        return ()
    return (leaf.artefact,)


def _mapped(value: object, leaf: Callable[[Leaf], object]) -> object:
    """Replace every read in a nesting; plain values stay."""
    value = _as_read(value)
    if isinstance(value, Leaf):
        return leaf(value)
    if isinstance(value, Mapping):
        return {str(key): _mapped(item, leaf) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_mapped(item, leaf) for item in value]
    return value


def facts_of(reads: Mapping) -> dict:
    """Return the part of the reads that enters the digest next to the artefacts' digests.

    An artefact is written as its number in `artefacts_of`, so that names, nesting and plain values
    count, and the record still separates "this value changed" from "an input changed".
    """
    number = {artefact.path: n for n, artefact in enumerate(artefacts_of(reads))}

    def fact(leaf: Leaf) -> object:
        own = [number[artefact.path] for artefact in _artefacts(leaf)]
        if isinstance(leaf, Outside):
            return "outside" if leaf.sha256 is None else ["outside", leaf.sha256]
        if isinstance(leaf, Resource):
            return leaf.name
        if isinstance(leaf, Inside):
            return [*own, leaf.name]
        if isinstance(leaf, Images):
            # max_pixels stands in the index's spec already
            decoding = {k: v for k, v in leaf.decoding.items() if k != "max_pixels"}
            return [*own, decoding]
        if isinstance(leaf, SaeRead):
            return [*own, leaf.facts["label"]]
        return own

    return _mapped(reads, fact)


def as_json(value: object) -> object:
    """Return the arguments as JSON; the job turns them back with `received`."""

    def plain(leaf: Leaf) -> dict:
        if isinstance(leaf, Artefact):
            path = Path(leaf.path)
            return {TAG: "path", "path": str(path.parent if path.name == COMPLETE else path)}
        if isinstance(leaf, Inside | Outside | Resource):
            return {TAG: "path", "path": leaf.path}
        if isinstance(leaf, Clip):
            return {TAG: "clip", **leaf.facts}
        if isinstance(leaf, SaeRead):
            return {TAG: "sae", "folder": str(leaf.artefact.folder), **leaf.facts}
        return {
            TAG: "images",
            "name": leaf.name,
            "index": str(leaf.index.folder),
            "root": leaf.root.path,
            "decoding": dict(leaf.decoding),
        }

    return _mapped(value, plain)
