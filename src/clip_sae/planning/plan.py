"""The plan: every step with its outputs, reads and values, from a config alone.

The Snakefile turns this into rules. Nothing here reads data or weights, so the whole DAG of an
experiment is known in a fraction of a second on a machine that has neither.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from clip_sae.planning.artefacts import COMPLETE, Artefact
from clip_sae.planning.final import Final
from clip_sae.planning.reads import Outside, Resource, artefacts_of, facts_of, resources_of
from clip_sae.planning.saes import PlannedSae, Saes
from clip_sae.planning.sources import Sources
from clip_sae.planning.specs import DIGEST_LENGTH, code_digest, file_sha256
from clip_sae.planning.steps import RULES, Rule, Step, once
from clip_sae.planning.stores import ExtractionJob, StoreKey, Stores

__all__ = ["COMPLETE", "ExtractionJob", "Plan", "PlannedSae", "Rule", "Step", "StoreKey"]

# The module that writes every step's tables, so part of every step's code.
WRITER = "clip_sae.files"
NOTHING = "(?!)"  # a pattern that matches no text


class Plan(Sources, Stores, Saes, Final):
    """All steps of a validated config (`clip_sae.planning.config.validate_config`).

    Args:
        config: the validated config.
        workflow: the folder that holds rules/, scripts/ and resources/.
        src: the folder that holds the package, for code digests.

    Attributes:
        steps: {path of an artefact: the step that makes it}, in the order of declaration.
        targets: {target: files}.
    """

    def __init__(self, config: Mapping, *, workflow: Path, src: Path) -> None:
        self.config = config
        self.results = os.path.normpath(config["results"])
        self.workflow = Path(workflow)
        self.src = Path(src)
        self.steps: dict[str, Step] = {}
        self.targets: dict[str, list[str]] = {"all": [], "extended": [], "adaptation": []}
        self.planners: Mapping[str, Callable] = {}  # of the analyses, by name (analyses.planned)
        self._stores: dict[StoreKey, Artefact] = {}
        self._saes: dict[tuple[str, int], list[PlannedSae]] = {}
        self._code: dict[tuple[str, ...], str] = {}

    # --- steps ----------------------------------------------------------------------------------

    def step(
        self,
        rule: Rule,
        *,
        reads: Mapping | None = None,
        values: Mapping | None = None,
        run: str | None = None,
        version: Mapping | None = None,
        recorded: Mapping | None = None,
        source: str | None = None,
        **wildcards: object,
    ) -> Artefact | dict[str, Artefact]:
        """Declare one job of a rule; return its artefact, or {key: artefact} where it has several.

        Args:
            reads: {keyword: artefacts, in any nesting, names and plain values among them}.
            values: {keyword: plain value}.
            run: the function, where the rule leaves it open.
            version: stands for the code in the digest; None for a digest of the code.
            recorded: values that decide the content but do not reach the function as arguments.
            source: name of the external content that the job fingerprints.
            wildcards: of the rule; a layer may be a number.
        """
        reads, values, run = dict(reads or {}), dict(values or {}), run or rule.run
        if twice := reads.keys() & values.keys():
            raise ValueError(f"{rule.name}: {sorted(twice)} are both read and given as values")
        if version is None:
            code = self.code(run, [*rule.resources, *resources_of(reads)])
            # the function's name too: the code digest is of its module
            version = {"code": code, "run": run.partition(":")[2], "reads": facts_of(reads)}
        if taken := version.keys() & values.keys():
            raise ValueError(f"{rule.name}: a value may not be called {sorted(taken)}")
        spec = {**version, **values, **(recorded or {})}
        texts = {k: f"{v:02d}" if isinstance(v, int) else str(v) for k, v in wildcards.items()}
        upstream = tuple(artefacts_of(reads))
        makes = {}
        for key, pattern in rule.patterns.items():
            path = pattern.format(**texts, digest="{digest}")
            makes[key] = Artefact(
                path=f"{self.results}/{path}",
                stage=rule.stage,
                spec=spec,
                upstream=upstream,
                source=source,
            )
        name = "_".join([rule.name, *texts.values()])
        self._add(Step(rule, name, run, makes, reads, values, texts))
        return makes[""] if set(makes) == {""} else makes

    def job(
        self,
        rule: Rule,
        name: str,
        *,
        makes: Mapping[str, Artefact],
        reads: Mapping,
        values: Mapping | None = None,
        wildcards: Mapping[str, str] | None = None,
    ) -> Step:
        """Declare a job of known artefacts, each with a spec of its own."""
        return self._add(Step(rule, name, rule.run, makes, reads, values or {}, wildcards or {}))

    def _add(self, step: Step) -> Step:
        for artefact in step.artefacts:
            known = self.steps.setdefault(artefact.path, step)
            if known.name != step.name or known.run != step.run:
                raise ValueError(f"{artefact.path} is made by {known.name} and by {step.name}")
        return step

    def code(self, run: str, resources: Iterable[str] = ()) -> str:
        """Return the digest of a function's module, its local imports, and resources."""
        key = (run.partition(":")[0], *dict.fromkeys(resources))
        if key not in self._code:
            files = [self.workflow / "resources" / name for name in key[1:]]
            self._code[key] = code_digest([key[0], WRITER], self.src, files)
        return self._code[key]

    @once
    def of(self, analysis: str) -> object:
        """Declare the steps of an analysis; return the result of its `steps` for other analyses.

        None if the config omits the analysis.
        """
        return self.planners[analysis](self)

    # --- shared by many steps -------------------------------------------------------------------

    def analysis(self, name: str) -> Mapping | None:
        """Return the section of an analysis; None if the config omits it."""
        return self.config["analyses"].get(name)

    def resource(self, name: str) -> Resource:
        """Return a file below workflow/resources as a read."""
        return Resource(name, str(self.workflow / "resources" / name))

    def file(self, path: str) -> Outside:
        """Return a user's file as a read; its content enters the digest once it exists."""
        return Outside(path, file_sha256(Path(path)) if Path(path).is_file() else None)

    @property
    def seed(self) -> int:
        return self.config["seed"]

    @property
    def intervals(self) -> dict:
        """Values of every bootstrap interval."""
        return {
            "resamples": self.config["analyses"]["bootstrap_resamples"],
            "seed": self.seed,
        }

    def want(self, target: str, *artefacts: Artefact) -> None:
        """Add files to a target, with the files that their jobs write next to them."""
        for artefact in artefacts:
            found = [artefact.path, *self.beside(self.steps[artefact.path])]
            known = set(self.targets[target])
            self.targets[target] += [path for path in found if path not in known]

    @property
    def all_steps(self) -> list[Step]:
        """Every step once, also where it makes several artefacts."""
        return list({id(step): step for step in self.steps.values()}.values())

    @property
    def artefacts(self) -> list[Artefact]:
        """Every artefact of the workflow for this config, each once."""
        made = [artefact for step in self.steps.values() for artefact in step.artefacts]
        return list({a.path: a for a in [*made, *self.stores.values()]}.values())

    def files_of(self, target: str) -> list[str]:
        """Return the files of a target; `extended` contains `adaptation`."""
        also = self.targets["adaptation"] if target == "extended" else []
        return [*self.targets[target], *also]

    def beside(self, step: Step) -> list[str]:
        """Return the files that a job writes next to its artefacts and their records."""
        names = {**step.wildcards, "digest": step.artefacts[0].digest}
        return [f"{self.results}/{pattern.format(**names)}" for pattern in step.rule.beside]

    def wildcard_constraints(self) -> dict[str, str]:
        """Return {wildcard: pattern of its known values}, so that no path matches two rules."""
        values: dict[str, dict[str, None]] = {}
        for rule in RULES.values():
            for name in rule.wildcards:
                values.setdefault(name, {})
        for step in self.steps.values():
            for name, value in step.wildcards.items():
                values[name][value] = None
        found = {
            name: "|".join(map(re.escape, sorted(known, reverse=True))) or NOTHING
            for name, known in values.items()
        }
        return found | {"digest": rf"[0-9a-f]{{{DIGEST_LENGTH}}}"}
