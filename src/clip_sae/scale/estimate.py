"""Needs of one config: every quantity that `python -m clip_sae plan` prints, as plain values."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from clip_sae.planning.jobs import listing
from clip_sae.planning.plan import Plan, PlannedSae
from clip_sae.planning.staleness import Staleness
from clip_sae.planning.turns import Turn, closure, readers, will_run
from clip_sae.planning.turns import turns as cut_turns
from clip_sae.scale.images import ImageCount, count_images
from clip_sae.scale.seconds import Hours, hours_of, read_seconds, read_shipped, shipped_hours
from clip_sae.scale.sizes import (
    free_bytes,
    matrix_size,
    peak_of_turns,
    sae_bytes,
    store_bytes,
    training_tokens,
)

EXTRACTION, TRAINING = "extract", "train"
EXTRACTION_UNIT = "image x token x block x d_model²"
SAE_UNIT = "token x d_model x d_sae"
# Stages whose time is linear in tokens x SAEs x d_model x d_sae: they encode whole stores.
ENCODING = (
    *("measure_firing", "measure_l0", "measure_reconstruction"),
    *("measure_frontier", "measure_sweep"),
)


@dataclass
class Stage:
    """Jobs of one kind; `work` of those to be made, in `unit`, and their hours if measured."""

    name: str
    jobs: int
    to_make: int
    unit: str = "job"
    work: float = 0.0
    time: Hours | None = None


@dataclass
class SplitWork:
    """Stores of one split. Bytes of one store; of all that the target reads, and still to make."""

    dataset: str
    split: str
    images: int | None
    source: str
    tokens_per_image: int
    tokens: int | None
    stores: int
    store_bytes: int | None
    layer_bytes: dict[int, int]
    bytes: int
    bytes_to_make: int
    passes: int


@dataclass(frozen=True)
class Disk:
    """Bytes. `peaks`: at most on disk at once beyond today's files, by how stores are kept:
    {"kept", "temporary", "layers_at_once: N"}. `others`: SAEs and the like, part of every peak.
    `there`: complete stores that exist already. `free`: of the results' file system.
    `mode`: the key of `peaks` that the config sets. `streamable`: stores to be made that only
    trainings read. `layers`: number of layers whose stores are to be made.
    """

    peaks: Mapping[str, int]
    others: int
    there: int
    free: int
    mode: str
    streamable: int = 0
    layers: int = 0

    @property
    def missing(self) -> int:
        """Bytes by which the file system is too small; 0 or less where it is large enough."""
        return self.peaks[self.mode] - self.free


@dataclass
class Estimate:
    """All quantities of a target.

    `unknown`: "data set/split" without a known number of images. `absent`: {data set: root} of data
    folders that the user must bring. `indices`: {data set: the file that counts its images}.
    """

    target: str
    splits: list[SplitWork]
    saes: list[dict]
    stages: list[Stage]
    disk: Disk
    turns: list[Turn]
    unknown: list[str] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    indices: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict:
        """Return plain values, for JSON."""
        return asdict(self)


class Estimator:
    """Everything behind a target, and the part of it that is still to be made.

    Args:
        plan: of the validated config.
        target: all, extended or adaptation; `extended` includes `adaptation`, as in the workflow.
        given: images that the user knows, {(data set, split): N}.
        on_cpu: whether jobs run on CPU cores, as those of the shipped records did.
        own_records: whether the records of these results are of the same kind of device.
    """

    def __init__(
        self,
        plan: Plan,
        target: str,
        given: Mapping[tuple[str, str], int],
        on_cpu: bool,
        own_records: bool = True,
    ) -> None:
        self.plan, self.target, self.given, self.on_cpu = plan, target, given, on_cpu
        self.sizes = plan.architecture
        self.section = plan.config["activations"]
        self.jobs = listing(plan)
        self.upstream = {path: set(job["reads"]) for job in self.jobs for path in job["makes"]}
        paths = list(plan.targets.get(target, []))
        paths += plan.targets.get("adaptation", []) if target == "extended" else []
        self.needed = closure(self.upstream, paths)
        state = Staleness.of(plan)
        self.to_make = will_run(self.upstream, paths, set(state.stale), set(state.missing))
        keys = {store.path: key for key, store in plan.stores.items()}
        read = readers(self.upstream, list(keys), self.needed)
        self.readers = {store: found for store, found in read.items() if found}
        self.where = {
            path: ((key.dataset, key.split), key.layer)
            for path, key in keys.items()
            if path in self.readers
        }
        self.wanted = {  # absent stores that something to be made reads
            path
            for path, found in self.readers.items()
            if self.to_make.intersection(found) and self.absent(path)
        }
        self.counts: dict[tuple[str, str], ImageCount] = {}
        self.cut = self.turns(self.section["layers_at_once"] or self.sizes.n_layers)
        self.seconds = read_seconds(Path(plan.results) / "benchmarks") if own_records else {}
        self.model = self.sizes.n_layers, self.sizes.d_model, self.sizes.n_tokens
        self.shipped = read_shipped(plan.workflow / "resources/measured_jobs.csv", self.model)

    def estimate(self) -> Estimate:
        """Return all quantities at once."""
        splits = [
            self.split(split) for split in sorted({split for split, _ in self.where.values()})
        ]
        saes = self.planned_saes()
        stages = [self._extraction(splits), *self._other_stages(saes)]
        if self.plan.temporary:
            due = sum(bool(self.to_make.intersection(found)) for found in self.readers.values())
            stages.append(Stage("drop", len(self.readers), due))
        disk = self._disk(saes)
        unknown = sorted(pair for pair, count in self.counts.items() if count.n is None)
        return Estimate(
            self.target,
            splits,
            [self.sae_row(name, found) for name, found in saes.items()],
            [stage for stage in stages if stage.jobs],
            disk,
            self.cut if self.section["layers_at_once"] else [],
            [f"{dataset}/{split}" for dataset, split in unknown],
            self._absent_roots(),
            {dataset: self.plan.index(dataset).path for dataset, _ in unknown},
        )

    def absent(self, path: str) -> bool:
        """Return True if a store does not exist."""
        return not Path(path).exists()

    def _absent_roots(self) -> dict[str, str]:
        """Return {data set: root} of unlisted data sets in use whose root does not exist."""
        found = {}
        for dataset in sorted({dataset for dataset, _ in self.counts}):
            entry = self.plan.config["datasets"][dataset]
            made = any(entry[key] is not None for key in ("draw", "attack", "augment"))
            listed = (self.plan.index(dataset).folder / "manifest.csv").is_file()
            if not made and not listed and not Path(entry["root"]).exists():
                found[dataset] = entry["root"]
        return found

    # --- images and stores ------------------------------------------------------------------------

    def images(self, dataset: str, split: str) -> ImageCount:
        """Return the images of one split, counted once."""
        if (dataset, split) not in self.counts:
            self.counts[dataset, split] = count_images(self.plan, dataset, split, self.given)
        return self.counts[dataset, split]

    def turns(self, at_once: int) -> list[Turn]:
        """Return the turns of all splits with `at_once` layers on disk together."""
        return cut_turns(self.where, self.upstream, self.needed, at_once)

    def store_bytes(self, path: str) -> int:
        """Return the bytes of one store."""
        return store_bytes(self.images(*self.where[path][0]).n or 0, self.sizes, self.section)

    def stores_of(self, split: tuple[str, str]) -> list[str]:
        """Return the stores of a split that the target reads."""
        return [path for path, (own, _) in self.where.items() if own == split]

    def split(self, split: tuple[str, str]) -> SplitWork:
        """Return the target's needs of one split."""
        paths, count = self.stores_of(split), self.images(*split)
        size = None if count.n is None else self.store_bytes(paths[0])
        layers: dict[int, int] = {}
        for path in paths:
            layer = self.where[path][1]
            layers[layer] = layers.get(layer, 0) + (size or 0)
        return SplitWork(
            *split,
            images=count.n,
            source=count.source,
            tokens_per_image=self.sizes.n_tokens,
            tokens=None if count.n is None else count.n * self.sizes.n_tokens,
            stores=len(paths),
            store_bytes=size,
            layer_bytes=dict(sorted(layers.items())),
            bytes=len(paths) * (size or 0),
            bytes_to_make=len(self.wanted.intersection(paths)) * (size or 0),
            passes=len(self.passes(paths)),
        )

    def passes(self, paths: list[str]) -> dict[tuple, int]:
        """Return {job: blocks that its forward pass goes through} of the extractions of stores."""
        per_job = self.section["layers_per_job"]
        turn_of = {
            (turn.split, layer): number
            for number, turn in enumerate(self.cut)
            for layer in turn.layers
        }
        found: dict[tuple, int] = {}
        for path in paths:
            split, layer = self.where[path]
            job = (split, layer // per_job, turn_of[split, layer])
            found[job] = max(found.get(job, 0), layer + 1)
        return found

    # --- SAEs -------------------------------------------------------------------------------------

    def planned_saes(self) -> dict[str, list[PlannedSae]]:
        """Return {recipe: its SAEs that the target needs}."""
        found = {
            name: [sae for sae in self.plan.all_saes(name) if sae.artefact.path in self.needed]
            for name in self.plan.config["saes"]
        }
        return {name: saes for name, saes in found.items() if saes}

    def tokens_of(self, sae: PlannedSae) -> int:
        """Return the tokens that the training of an SAE sees."""
        recipe = self.plan.config["saes"][sae.name]
        images = self.images(recipe["dataset"], recipe["split"]).n or 0
        return training_tokens(sae.recipe, images, self.sizes)

    def sae_row(self, name: str, saes: list[PlannedSae]) -> dict:
        """Return the row of a recipe: numbers of SAEs, latents, tokens, bytes."""
        tokens = self.tokens_of(saes[0])
        return {
            "recipe": name,
            "saes": len(saes),
            "to_make": sum(sae.artefact.path in self.to_make for sae in saes),
            "layers": sorted({sae.layer for sae in saes}),
            "d_sae": saes[0].recipe.d_sae(self.sizes.d_model),
            "tokens_each": tokens,
            "tokens": tokens * len(saes),
            "bytes": sum(sae_bytes(sae.recipe, self.sizes) for sae in saes),
        }

    # --- stages -----------------------------------------------------------------------------------

    def _extraction(self, splits: list[SplitWork]) -> Stage:
        """Return the forward passes: linear in images, blocks and the width squared."""
        jobs = sum(split.passes for split in splits)
        due = self.passes(sorted(self.wanted))
        work = sum(self.pass_work(*job) for job in due.items())
        stage = Stage(EXTRACTION, jobs, len(due), EXTRACTION_UNIT, work)
        return self._timed(stage, self.extraction_work())

    def extraction_work(self) -> dict[str, float]:
        """Return {job: work} of the splits whose stores a single job fills."""
        found = {}
        for dataset, split in {split for split, _ in self.where.values()}:
            passes = self.passes(self.stores_of((dataset, split)))
            if len(passes) == 1:
                [job] = passes.items()
                found[f"extract_{dataset}_{split}_block0"] = self.pass_work(*job)
        return found

    def pass_work(self, job: tuple, blocks: int) -> float:
        """Return the work of one forward pass, in images x tokens x blocks x d_model²."""
        images = self.images(*job[0]).n or 0
        return float(images * self.sizes.n_tokens * blocks * self.sizes.d_model**2)

    def _other_stages(self, saes: Mapping[str, list[PlannedSae]]) -> list[Stage]:
        """Return every other kind of job, by work where it is known, else by number of jobs."""
        sae_of = {sae.artefact.path: sae for found in saes.values() for sae in found}
        of_stage: dict[str, list[Mapping]] = {}
        for job in self.jobs:
            if self.needed.intersection(job["makes"]):
                of_stage.setdefault(job["stage"], []).append(job)
        found = []
        for name, jobs in of_stage.items():
            due = [job for job in jobs if self.to_make.intersection(job["makes"])]
            work = {job["job"]: self.job_work(job, sae_of) for job in jobs}
            unit = SAE_UNIT if name in (TRAINING, *ENCODING) else "job"
            stage = Stage(name, len(jobs), len(due), unit, sum(work[job["job"]] for job in due))
            made = {job["job"]: work[job["job"]] for job in jobs if job not in due}
            # out-of-date jobs have run as well, on work that an edit may have changed
            found.append(self._timed(stage, made, work))
        return found

    def _timed(self, stage: Stage, *records: Mapping[str, float]) -> Stage:
        """Return the stage with its hours, from the first records that have any."""
        if stage.to_make:
            for ran in records:
                stage.time = stage.time or hours_of(stage.work, ran, self.seconds, stage.unit)
            if stage.time is None:
                record = self.shipped.get(stage.name)
                stage.time = shipped_hours(stage.work, record, self.model, self.on_cpu)
        return stage

    def job_work(self, job: Mapping, sae_of: Mapping[str, PlannedSae]) -> float:
        """Return a job's work: tokens x d_model x d_sae summed over its SAEs, or 1 without them."""
        if job["stage"] == TRAINING:
            saes = [sae_of[path] for path in job["makes"] if path in sae_of]
            return float(sum(self.tokens_of(s) * matrix_size(s.recipe, self.sizes) for s in saes))
        if job["stage"] not in ENCODING:
            return 1.0
        stores = {self.where[path] for path in job["reads"] if path in self.where}
        images = {layer: self.images(*split).n or 0 for split, layer in stores}
        saes = [sae_of[path] for path in job["reads"] if path in sae_of]
        return float(
            sum(
                images.get(sae.layer, 0) * self.sizes.n_tokens * matrix_size(sae.recipe, self.sizes)
                for sae in saes
            )
        )

    # --- disk -------------------------------------------------------------------------------------

    def _disk(self, saes: Mapping[str, list[PlannedSae]]) -> Disk:
        others = sum(
            sae_bytes(sae.recipe, self.sizes)
            for found in saes.values()
            for sae in found
            if sae.artefact.path in self.to_make
        )
        others += self._adapted_bytes()
        sizes = {path: self.store_bytes(path) for path in self.wanted}
        there = sum(self.store_bytes(path) for path in self.readers if not self.absent(path))
        at_once = self.section["layers_at_once"]
        peaks = {"kept": sum(sizes.values()), "temporary": sum(sizes.values())}
        for n in sorted({1, at_once or 1}):
            peaks[f"layers_at_once: {n}"] = peak_of_turns(sizes, self.where, self.turns(n))
        peaks = {mode: size + others for mode, size in peaks.items()}
        mode = "kept"
        if self.plan.temporary:
            mode = f"layers_at_once: {at_once}" if at_once else "temporary"
        trained = {path for job in self.jobs if job["stage"] == TRAINING for path in job["makes"]}
        streamable = sum(sizes[path] for path in sizes if trained.issuperset(self.readers[path]))
        free = free_bytes(Path(self.plan.results))
        layers = len({layer for path, (_, layer) in self.where.items() if path in sizes})
        return Disk(peaks, others, there, free, mode, streamable, layers)

    def _adapted_bytes(self) -> int:
        """Return the bytes of stores of adapted models: targets themselves, and always kept."""
        adaptation = self.plan.of("adaptation")
        if adaptation is None:
            return 0
        total = 0
        for dataset, method, seed in adaptation.stored:
            stores = adaptation.extraction(dataset, method, seed).artefacts
            n_prompts = {"vpt": "n_visual", "maple": "n_context"}.get(adaptation.kinds[method])
            n = adaptation.methods[method][n_prompts] if n_prompts else 0
            images = self.images(dataset, adaptation.datasets[dataset]["test"]).n or 0
            due = [store for store in stores if store.path in self.to_make]
            total += len(due) * store_bytes(images, self.sizes, self.section, n)
        return total
