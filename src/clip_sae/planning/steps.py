"""Rules and their steps: outputs, reads, values and function of a job.

A rule is declared once, next to the function that it runs. A step is one job of it: only `reads`
and `values` reach the function. From them follow Snakemake's inputs, the digest, the paths and the
keyword arguments. No torch: the Snakefile imports this.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps

from clip_sae.planning.artefacts import COMPLETE, Artefact
from clip_sae.planning.reads import as_json, waits_for

RULES: dict[str, "Rule"] = {}  # every rule of the workflow, by name


@dataclass(frozen=True)
class Rule:
    """One rule of the workflow.

    Attributes:
        name: of the rule, its log, its step and its function.
        makes: path below the results root, or {key: path}; wildcards in braces. A path that ends
            in COMPLETE.json stands for a folder.
        run: "module:function"; None where each step names its own (draw, gather, render).
        beside: further files that a job writes, as patterns: an .svg, a manifest.
        stage: the stage's name in records and digests; the rule's name if empty.
        split: name of the scatter process that splits a job into parts, if any.
        records: True if the function itself writes the records of its outputs (stores).
        resources: files below workflow/resources that every job of the rule uses.
    """

    name: str
    makes: str | Mapping[str, str]
    run: str | None = None
    beside: tuple[str, ...] = ()
    stage: str = ""
    split: str = ""
    records: bool = False
    resources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if RULES.setdefault(self.name, self) != self:
            raise ValueError(f"two rules are called {self.name!r}")
        object.__setattr__(self, "stage", self.stage or self.name)

    @property
    def patterns(self) -> dict[str, str]:
        """{key: path below the results root}; a single output has the key ""."""
        return {"": self.makes} if isinstance(self.makes, str) else dict(self.makes)

    def outputs(self, results: str) -> list[str]:
        """Return all files that a job writes, as patterns: artefacts, records and others."""
        paths = []
        for pattern in self.patterns.values():
            paths.append(f"{results}/{pattern}")
            if not pattern.endswith(COMPLETE):
                paths.append(f"{results}/{pattern}.spec.json")
        return paths + [f"{results}/{pattern}" for pattern in self.beside]

    @property
    def wildcards(self) -> list[str]:
        """Names of the wildcards, in the order of the first path."""
        return re.findall(r"{(\w+)}", next(iter(self.patterns.values())))

    def named(self, prefix: str, suffix: str) -> str:
        """Return a path with the rule's name and wildcards, for its log or benchmark."""
        wildcards = "-".join(f"{{{name}}}" for name in self.wildcards)
        return f"{prefix}/{self.name}{f'/{wildcards}' if wildcards else ''}{suffix}"


@dataclass(frozen=True)
class Step:
    """One job of a rule.

    Attributes:
        rule: as declared; name: unique among all steps, for messages.
        run: "module:function".
        makes: {key: artefact}.
        reads, values: as declared; nothing else reaches the function.
        wildcards: {name: text} of the rule's wildcards, without the digest.
    """

    rule: Rule
    name: str
    run: str
    makes: Mapping[str, Artefact]
    reads: Mapping = field(default_factory=dict)
    values: Mapping = field(default_factory=dict)
    wildcards: Mapping[str, str] = field(default_factory=dict)

    @property
    def benchmark(self) -> str:
        """Path of the job's benchmark, without folder, digest and suffix."""
        if not self.wildcards or self.rule.name in ("extract", "train_sae") and len(self.makes) > 1:
            return self.name
        named = re.sub("[-/]{digest}", "", self.rule.named("", "").lstrip("/"))
        return named.format(**self.wildcards)

    @property
    def artefacts(self) -> list[Artefact]:
        """The artefacts that the job makes."""
        return list(self.makes.values())

    @property
    def upstream(self) -> list[Artefact]:
        """The artefacts that the job waits for."""
        return waits_for(self.reads)

    @property
    def arguments(self) -> dict:
        """The keyword arguments of the function, as JSON (`reads.received` turns them back)."""
        return {**as_json(self.reads), **as_json(self.values)}


def once(method: Callable) -> Callable:
    """Cache the method's result per object and (hashable) positional arguments.

    The object holds the results, so they are freed with it.
    """

    @wraps(method)
    def answer(self, *arguments):
        known = self.__dict__.setdefault("_once", {})
        key = (method.__qualname__, *arguments)
        if key not in known:
            known[key] = method(self, *arguments)
        return known[key]

    return answer
