"""The registry of data sets: kinds, each with its loader, and makers, each with its jobs.

A kind is a layout on disk; a maker makes a set that no folder holds yet (drawn, attacked,
augmented). Each is one file of `clip_sae.datasets.kinds`, found by itself, or part of a plug-in.
The schema of the config, the checks, the plan, the counts of `clip_sae plan` and a table for the
documentation come from the registry. The Snakefile imports all of it, so none imports torch or
pandas.
"""

import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path

import jsonschema
import yaml

from clip_sae.planning.artefacts import Artefact
from clip_sae.planning.inputs import SPLITS
from clip_sae.planning.plugins import load_plugins
from clip_sae.planning.reads import Inside, Outside
from clip_sae.planning.steps import Rule

FOLDER = Path(__file__).parents[1] / "datasets/kinds"


@dataclass(frozen=True)
class Expected:
    """The contents of a published set; empty fields are not checked.

    splits: images of each split. total: images in all. classes: number of classes.
    per_class: (fewest, most) images of one class in a split. groups: images of group 0, 1, 2, 3.
    """

    splits: Mapping[str, int] = field(default_factory=dict)
    total: int | None = None
    classes: int | None = None
    per_class: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    groups: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Option:
    """One key of a data set's `options`: the JSON schema of its values, and a line of help."""

    schema: Mapping
    help: str


@dataclass(frozen=True)
class Kind:
    """A layout on disk.

    Attributes:
        layout: the files and folders below `root`, in short.
        load: (root, options) → `datasets.listing.Listing`.
        help: one line.
        options: those that only this kind has.
        published: {name: counts} of the sets that come in this layout; the option `expect` takes
            these names.
    """

    layout: str
    load: Callable
    help: str
    options: Mapping[str, Option] = field(default_factory=dict)
    published: Mapping[str, Expected] = field(default_factory=dict)


class Maker:
    """A way to make a data set: a section of the config, the jobs behind it, and its images.

    Subclasses set the attributes and override the methods that differ.

    Attributes:
        section: key of a data set's config that holds the maker's own keys, e.g. "attack".
        kind: the kind of the sets that it makes; None for any.
        what: a few words on the set, for an error.
        schema: of the section, as YAML: description, required, properties.
        rule: makes the files; None where the set has none and shows those of another set.
        version: of the rule, in `planning.versions`.
    """

    section: str
    kind: str | None = None
    what: str
    schema: str
    rule: Rule | None = None
    version: int = 1

    @cached_property
    def keys(self) -> dict:
        """The schema of the section, read."""
        return yaml.safe_load(self.schema)

    def mistakes(self, where: str, section: Mapping, datasets: Mapping) -> Iterator[str]:
        """Yield a sentence for each mistake that the schema cannot see."""
        yield from ()

    def declares(self, plan, section: Mapping) -> dict:
        """Return `reads`, `values` and `recorded` of the job that makes the files."""
        return {"values": section}

    def folder(self, section: Mapping) -> str:
        """Return the folder, below that of the job, that holds the images."""
        raise NotImplementedError

    def made(self, plan, dataset: str, section: Mapping) -> Artefact | None:
        """Declare the job that makes the files; None where the set has none."""
        if self.rule is None:
            return None
        [wildcard] = [name for name in self.rule.wildcards if name != "digest"]
        version = {"version": self.version}
        declared = self.declares(plan, section)
        return plan.step(self.rule, **declared, version=version, **{wildcard: dataset})

    def root(self, plan, dataset: str, section: Mapping) -> Inside | Outside:
        """Return the folder that the manifest's paths are relative to."""
        return Inside(plan.made_set(dataset), self.folder(section))

    def listed_from(self, plan, section: Mapping) -> Mapping | None:
        """Return what `index` reads; None where a loader lists the files."""
        return None

    def index(self, section: Mapping, **reads):
        """Return the `datasets.manifest.DatasetIndex` of a set that no loader lists."""
        raise NotImplementedError

    def count(self, section: Mapping, split: str, count: Callable) -> "ImageCount":
        """Return the number of images of a split; `count(dataset, split)` counts another set."""
        raise NotImplementedError


@dataclass(frozen=True)
class ImageCount:
    """`n` images that enter stores, None if unknown; `source` says where the number is from."""

    n: int | None
    source: str


KINDS: dict[str, Kind] = {}
MAKERS: dict[str, Maker] = {}  # by section

COMMON_OPTIONS = {
    "expect": Option(
        {},  # filled in by `_options_schema`: the names of published sets
        "official, null (no check), a mapping with train, val, test, total, classes, or the name "
        "of a published set",
    ),
    "class_names": Option(
        {"type": ["string", "object", "null"]},
        "a CSV with the columns label and name, or a mapping: prompt names",
    ),
    "splits": Option(
        {"type": ["array", "null"], "items": {"enum": [*SPLITS]}, "minItems": 1},
        "a list out of train, val, test (all)",
    ),
    "fingerprint": Option({"enum": ["size", "content"]}, "as the key next to `options`"),
    "check": Option(
        {"enum": ["decode", "none"]}, "decode: read every image now (the default); none: only sizes"
    ),
}


def kind(
    name: str,
    *,
    layout: str,
    options: Mapping[str, Option] | None = None,
    published: Mapping[str, Expected] | None = None,
) -> Callable:
    """Register the decorated loader as a kind; the first line of its docstring is the help."""

    def registered(load: Callable) -> Callable:
        help_line = (load.__doc__ or "").strip().partition("\n")[0].rstrip(".")
        _add(KINDS, name, Kind(layout, load, help_line, options or {}, published or {}))
        return load

    return registered


def register(maker: type[Maker]) -> type[Maker]:
    """Register the decorated class of a maker."""
    _add(MAKERS, maker.section, maker())
    return maker


def _add(registry: dict, name: str, entry: object) -> None:
    if name in registry:
        raise ValueError(f"two kinds or makers of data sets are called {name!r}")
    registry[name] = entry


@cache
def _load() -> None:
    load_plugins()
    for module in pkgutil.iter_modules([str(FOLDER)]):
        import_module(f"clip_sae.datasets.kinds.{module.name}")


def kinds() -> Mapping[str, Kind]:
    """Return every kind by name."""
    _load()
    return dict(sorted(KINDS.items()))


def makers() -> Mapping[str, Maker]:
    """Return every maker by the section of the config that it reads, in the order of names."""
    _load()
    return dict(sorted(MAKERS.items()))  # whatever was imported first


def maker_of(entry: Mapping) -> Maker | None:
    """Return the maker of a data set by its part of the config; None for a set from a folder."""
    found = [maker for section, maker in makers().items() if entry.get(section) is not None]
    return found[0] if found else None


def published() -> dict[str, Expected]:
    """Return {name: counts} of all published sets."""
    return {name: e for kind in kinds().values() for name, e in kind.published.items()}


# --- the config -----------------------------------------------------------------------------------


def with_kinds(schema: dict) -> dict:
    """Put every kind, its options and every maker's keys into the config's schema; return it."""
    dataset = schema["$defs"]["dataset"]
    made = [maker.kind for maker in makers().values() if maker.kind not in (None, *kinds())]
    dataset["properties"]["kind"]["enum"] = [*kinds(), *made]
    for section, maker in makers().items():
        dataset["properties"][section] = {
            "type": ["object", "null"],
            "default": None,
            "additionalProperties": False,
            **maker.keys,
        }
    dataset["allOf"] = [
        {
            "if": {"properties": {"kind": {"const": name}}},
            "then": {"properties": {"options": _options_schema(kind.options)}},
        }
        for name, kind in kinds().items()
    ]
    return schema


def option_mistakes(kind: str, options: Mapping) -> Iterator[str]:
    """Yield a sentence for each option of a data set that its kind lacks or cannot use."""
    schema = _options_schema(kinds()[kind].options)
    known = schema["properties"]
    for key in sorted(options.keys() - known.keys()):
        yield f"{kind} has no option {key}; its options are {', '.join(sorted(known))}."
    for error in jsonschema.Draft202012Validator({"properties": known}).iter_errors(options):
        key, allowed = error.path[0], known[error.path[0]].get("enum")
        choices = f"one of {', '.join(map(str, allowed))}" if allowed else known[key]["description"]
        yield f"{key} is {options[key]!r}; it must be {choices}."


def _options_schema(own: Mapping[str, Option]) -> dict:
    options = {**COMMON_OPTIONS, **own}
    properties = {key: {**o.schema, "description": o.help} for key, o in options.items()}
    counts = {key: {"type": "integer", "minimum": 0} for key in (*SPLITS, "total", "classes")}
    properties["expect"]["description"] += f": {', '.join(published())}"
    properties["expect"]["anyOf"] = [
        {"enum": [None, "official", *published()]},
        {"type": "object", "additionalProperties": False, "properties": counts},
    ]
    return {"additionalProperties": False, "properties": properties}


def kind_mistakes(datasets: Mapping) -> Iterator[str]:
    """Yield a sentence for each mistake in data sets that the schema cannot see."""
    choices = ["`root` (the folder of the data)"]
    choices += [f"`{section}` ({maker.what})" for section, maker in makers().items()]
    for name, entry in datasets.items():
        where = f"datasets.{name}"
        if sum(entry[key] is not None for key in ("root", *makers())) != 1:
            yield (
                f"{where}: give either {', '.join(choices[:-1])} or {choices[-1]}, and only one "
                "of them."
            )
        for section, maker in makers().items():
            given = entry[section] is not None
            from_folder = maker.kind in kinds() and entry["root"] is not None
            other_kind = maker.kind is not None and given != (entry["kind"] == maker.kind)
            if other_kind and not from_folder:
                yield (
                    f"{where}: `{section}` requires `kind: {maker.kind}` and vice versa; change "
                    "one of them."
                )
            if given:
                yield from maker.mistakes(f"{where}.{section}", entry[section], datasets)


# --- the documentation ----------------------------------------------------------------------------


def kinds_table() -> str:
    """Return a Markdown table of all kinds: name, layout, options of its own, help."""
    rows = ["| kind | on disk | options | |", "| --- | --- | --- | --- |"]
    for name, entry in kinds().items():
        options = "; ".join(f"`{key}`: {option.help}" for key, option in entry.options.items())
        rows.append(f"| `{name}` | {entry.layout} | {options} | {entry.help} |")
    common = "; ".join(f"`{key}`: {option.help}" for key, option in COMMON_OPTIONS.items())
    made = [
        f"| `{section}` | {maker.what} | {maker.keys['description']} |"
        for section, maker in makers().items()
    ]
    made = ["| section | set | |", "| --- | --- | --- |", *made]
    return "\n".join([*rows, "", f"Options of every kind: {common}.", "", *made]) + "\n"
