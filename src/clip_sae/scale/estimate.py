"""What one config needs: every quantity that `python -m clip_sae plan` prints, as plain values."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from clip_sae.adaptation_plan import AdaptationPlan
from clip_sae.artefacts import Artefact
from clip_sae.plan import Plan, PlannedSae
from clip_sae.scale.disk import Disk, free_bytes, peak_of_turns
from clip_sae.scale.images import ImageCount, count_images
from clip_sae.scale.listing import WorkListing
from clip_sae.scale.rates import Rate, measured_rate, read_seconds
from clip_sae.scale.work import (
    encode_flops,
    forward_flops,
    sae_bytes,
    store_bytes,
    training_flops,
    training_tokens,
)
from clip_sae.store_turns import Turn, turns

EXTRACTION, TRAINING = "extract", "train"


@dataclass(frozen=True)
class Speeds:
    """What the user knows of the device: FLOP/s sustained, images decoded a second, and how many.

    `given` names those that the user gave: these are not replaced by measured ones.
    """

    flops: Rate
    images: Rate
    devices: int
    given: frozenset[str] = frozenset()


@dataclass
class Stage:
    """Jobs of one kind. `work` of those to be made, in `unit`; `hours` of one device, None where
    nothing is known; `how`: the formula or the measurement behind it, and the rate's source."""

    name: str
    jobs: int
    to_make: int
    unit: str = ""
    work: float = 0.0
    hours: float | None = None
    how: str = ""


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
    flops_per_image: int


@dataclass
class Estimate:
    """All of it. Bytes, FLOPs, hours of one device."""

    target: str
    splits: list[SplitWork]
    saes: list[dict]
    stages: list[Stage]
    disk: Disk
    turns: list[Turn]
    unknown: list[str] = field(default_factory=list)

    def to_dict(self) -> dict:
        """Plain values, for JSON."""
        return asdict(self)


class Estimator:
    """Estimates of one config for one target.

    Args:
        plan: of the validated config.
        listing: what the workflow says of the same config.
        given: images that the user knows, {(data set, split): N}.
    """

    def __init__(
        self,
        plan: Plan,
        listing: WorkListing,
        target: str,
        given: Mapping[tuple[str, str], int],
        speeds: Speeds,
    ) -> None:
        self.plan, self.listing, self.target = plan, listing, target
        self.given, self.speeds = given, speeds
        self.sizes = plan.architecture
        self.block = plan.config["activations"]
        self.needed = listing.needed(target)
        self.to_make = listing.to_make(target)
        self.readers = listing.read_stores(self.needed)
        self.places = {
            store["path"]: ((store["dataset"], store["split"]), store["layer"])
            for store in listing.stores
            if store["path"] in self.readers
        }
        self.wanted = {  # stores that something to be made reads, and that are not there
            path
            for path, found in self.readers.items()
            if self.to_make.intersection(found) and self._absent(path)
        }
        self.counts: dict[tuple[str, str], ImageCount] = {}
        self.seconds = read_seconds(Path(plan.results) / "benchmarks")

    def estimate(self) -> Estimate:
        """Everything at once."""
        self.cut = self._turns(self.block["layers_at_once"] or 10**6)
        splits = [self._split(place) for place in sorted({p for p, _ in self.places.values()})]
        saes = self.planned_saes()
        stages = [self._extraction(splits), *self._other_stages(saes)]
        if self.plan.temporary:
            due = sum(bool(self.to_make.intersection(found)) for found in self.readers.values())
            stages.append(Stage("drop", len(self.readers), due))
        unknown = sorted(
            f"{dataset}/{split}" for (dataset, split), c in self.counts.items() if c.n is None
        )
        return Estimate(
            self.target,
            splits,
            [self._sae_row(name, found) for name, found in saes.items()],
            [stage for stage in stages if stage.jobs],
            self._disk(saes),
            self.cut if self.block["layers_at_once"] else [],
            unknown,
        )

    # --- counts and stores ------------------------------------------------------------------------

    def images(self, dataset: str, split: str) -> ImageCount:
        """Images of one split, each asked for once."""
        if (dataset, split) not in self.counts:
            self.counts[dataset, split] = count_images(self.plan, dataset, split, self.given)
        return self.counts[dataset, split]

    def _absent(self, path: str) -> bool:
        return not Path(path).exists()

    def _turns(self, at_once: int) -> list[Turn]:
        return turns(self.places, self.listing.upstream, self.needed, at_once)

    def _store_bytes(self, path: str) -> int:
        (dataset, split), _ = self.places[path]
        return store_bytes(self.images(dataset, split).n or 0, self.sizes, self.block)

    def _split(self, place: tuple[str, str]) -> SplitWork:
        paths = [path for path, (where, _) in self.places.items() if where == place]
        count = self.images(*place)
        size = None if count.n is None else self._store_bytes(paths[0])
        layers: dict[int, int] = {}
        for path in paths:
            layer = self.places[path][1]
            layers[layer] = layers.get(layer, 0) + (size or 0)
        wanted = [path for path in paths if path in self.wanted]
        deepest = 1 + max(layers)
        return SplitWork(
            *place,
            images=count.n,
            source=count.source,
            tokens_per_image=self.sizes.n_tokens,
            tokens=None if count.n is None else count.n * self.sizes.n_tokens,
            stores=len(paths),
            store_bytes=size,
            layer_bytes=dict(sorted(layers.items())),
            bytes=len(paths) * (size or 0),
            bytes_to_make=len(wanted) * (size or 0),
            passes=len(self._passes(paths)),
            flops_per_image=forward_flops(self.sizes, deepest),
        )

    def _passes(self, paths: list[str]) -> dict[tuple, int]:
        """{job: layers that its forward pass goes through} of the extractions of some stores."""
        per_job = self.block["layers_per_job"]
        turn_of = {
            (turn.place, layer): number
            for number, turn in enumerate(self.cut)
            for layer in turn.layers
        }
        found: dict[tuple, int] = {}
        for path in paths:
            place, layer = self.places[path]
            job = (place, layer // per_job, turn_of[place, layer])
            found[job] = max(found.get(job, 0), layer + 1)
        return found

    # --- SAEs -------------------------------------------------------------------------------------

    def planned_saes(self) -> dict[str, list[PlannedSae]]:
        """{recipe: its SAEs that the target needs}."""
        found = {
            name: [sae for sae in self.plan.all_saes(name) if sae.artefact.path in self.needed]
            for name in self.plan.config["saes"]
        }
        return {name: saes for name, saes in found.items() if saes}

    def _training_images(self, name: str) -> int:
        block = self.plan.config["saes"][name]
        return self.images(block["dataset"], block["split"]).n or 0

    def _sae_row(self, name: str, saes: list[PlannedSae]) -> dict:
        recipe, images = saes[0].recipe, self._training_images(name)
        tokens = training_tokens(recipe, images, self.sizes)
        return {
            "recipe": name,
            "saes": len(saes),
            "to_make": sum(sae.artefact.path in self.to_make for sae in saes),
            "layers": sorted({sae.layer for sae in saes}),
            "d_sae": recipe.d_sae(self.sizes.d_model),
            "tokens_each": tokens,
            "tokens": tokens * len(saes),
            "flops": sum(training_flops(sae.recipe, images, self.sizes) for sae in saes),
            "bytes": sum(sae_bytes(sae.recipe, self.sizes) for sae in saes),
        }

    # --- stages -----------------------------------------------------------------------------------

    def _extraction(self, splits: list[SplitWork]) -> Stage:
        """Forward passes, limited by the tower's FLOPs or by reading images, the slower of both."""
        work, images, jobs, to_make = {}, {}, 0, 0
        for split in splits:
            place = (split.dataset, split.split)
            paths = [path for path, (where, _) in self.places.items() if where == place]
            passes = self._passes(paths)
            jobs += len(passes)
            rule = f"extract_{split.dataset}_{split.split}_block0"
            if len(passes) == 1 and not self.wanted.intersection(paths):
                images[rule] = split.images or 0  # has run, as one job: its speed can be measured
            due = self._passes([path for path in paths if path in self.wanted])
            to_make += len(due)
            for job, layers in due.items():
                work[job] = (split.images or 0, forward_flops(self.sizes, layers))
        total = float(sum(n for n, _ in work.values()))
        measured = measured_rate(images, self.seconds)
        if measured and "images" not in self.speeds.given:
            seconds = total / measured.per_second
            how = f"images / {measured.per_second:,.0f} images/s, {measured.source}"
        else:
            flops, read = self.speeds.flops, self.speeds.images
            seconds = sum(
                n * max(each / flops.per_second, 1 / read.per_second) for n, each in work.values()
            )
            how = (
                f"images x the larger of FLOPs / {teraflops(flops)} and 1 / "
                f"{read.per_second:,.0f} images/s ({read.source})"
            )
        return Stage(EXTRACTION, jobs, to_make, "images", total, seconds / 3600, how)

    def _other_stages(self, saes: Mapping[str, list[PlannedSae]]) -> list[Stage]:
        """Every other kind of job: those with a formula by FLOPs, others by what they took."""
        of_stage: dict[str, list[Mapping]] = {}
        for job in self.listing.jobs:
            if self.needed.intersection(job["makes"]):
                of_stage.setdefault(job["stage"], []).append(job)
        formulas = self.formulas(saes)
        return [self._stage(name, jobs, formulas.get(name)) for name, jobs in of_stage.items()]

    def formulas(
        self, saes: Mapping[str, list[PlannedSae]]
    ) -> dict[str, tuple[str, Callable[[Mapping], float]]]:
        """{stage: (its formula as text, the FLOPs of one of its jobs)}, of those that have one."""
        sae_of = {sae.artefact.path: sae for found in saes.values() for sae in found}
        training, read = "6 x tokens x 2 x d_model x d_sae", "tokens x 2 x d_model x d_sae"
        both = "tokens x 4 x d_model x d_sae, and the blocks behind for each SAE"
        return {
            TRAINING: (f"{training}, and the tower where recipes stream", self._trained(sae_of)),
            "measure_firing": (read, self._read(sae_of, 1, 0)),
            "measure_l0": (read, self._read(sae_of, 1, 0)),
            # for all tokens, CLS and patches, with the reconstruction in their place
            "measure_reconstruction": (f"{both}, 3 times", self._read(sae_of, 2, 3)),
            "measure_frontier": (both, self._read(sae_of, 2, 1)),
            "measure_sweep": (f"{both}, 3 times", self._read(sae_of, 2, 3)),
        }

    def _stage(self, name: str, jobs: list[Mapping], formula: tuple | None) -> Stage:
        due = [job for job in jobs if self.to_make.intersection(job["makes"])]
        stage = Stage(name, len(jobs), len(due))
        if formula is None:
            ran = {job["rule"]: 1.0 for job in jobs}
            per_job = measured_rate(ran, self.seconds)
            if per_job:
                stage.hours = len(due) / per_job.per_second / 3600
                stage.how = f"{1 / per_job.per_second:.1f} s a job, {per_job.source}"
            return stage
        text, flops = formula
        work = {job["rule"]: flops(job) for job in jobs}
        stage.unit, stage.work = "FLOP", float(sum(work[job["rule"]] for job in due))
        rate = self.speeds.flops
        if "flops" not in self.speeds.given:
            done = {job["rule"]: work[job["rule"]] for job in jobs if job not in due}
            # what is out of date ran as well, on work that an edit may have changed
            rate = measured_rate(done, self.seconds) or measured_rate(work, self.seconds) or rate
        stage.hours = stage.work / rate.per_second / 3600
        stage.how = f"{text} / {teraflops(rate)}"
        return stage

    def _trained(self, sae_of: Mapping[str, PlannedSae]) -> Callable[[Mapping], float]:
        def flops(job: Mapping) -> float:
            saes = [sae_of[path] for path in job["makes"] if path in sae_of]
            images = self._training_images(saes[0].name) if saes else 0
            total = sum(training_flops(sae.recipe, images, self.sizes) for sae in saes)
            if saes and self.plan.config["saes"][saes[0].name]["stream"]:
                passes = saes[0].recipe.epochs * images
                total += passes * forward_flops(self.sizes, saes[0].layer + 1)
            return total

        return flops

    def _read(
        self, sae_of: Mapping[str, PlannedSae], matrices: int, runs_on: int
    ) -> Callable[[Mapping], float]:
        """FLOPs of SAEs over the stores that a job reads, and of the tower from there on."""

        def flops(job: Mapping) -> float:
            places = {self.places[path] for path in job["reads"] if path in self.places}
            images = {layer: self.images(*place).n or 0 for place, layer in places}
            behind = forward_flops(self.sizes, self.sizes.n_layers)
            total = 0.0
            for path in job["reads"]:
                if path not in sae_of or sae_of[path].layer not in images:
                    continue
                sae = sae_of[path]
                share = (self.sizes.n_layers - 1 - sae.layer) / self.sizes.n_layers
                each = self.sizes.n_tokens * matrices * encode_flops(sae.recipe, self.sizes)
                total += images[sae.layer] * (each + runs_on * share * behind)
            return total

        return flops

    # --- disk -------------------------------------------------------------------------------------

    def _disk(self, saes: Mapping[str, list[PlannedSae]]) -> Disk:
        others = sum(
            sae_bytes(sae.recipe, self.sizes)
            for found in saes.values()
            for sae in found
            if sae.artefact.path in self.to_make
        )
        others += self._adapted_bytes()
        sizes = {path: self._store_bytes(path) for path in self.wanted}
        there = sum(self._store_bytes(path) for path in self.readers if not self._absent(path))
        at_once = self.block["layers_at_once"]
        peaks = {"kept": sum(sizes.values()), "temporary": sum(sizes.values())}
        for n in sorted({1, at_once or 1}):
            cut = self._turns(n)
            peaks[f"layers_at_once: {n}"] = peak_of_turns(sizes, self.places, cut)
        peaks = {mode: size + others for mode, size in peaks.items()}
        mode = "kept"
        if self.plan.temporary:
            mode = f"layers_at_once: {at_once}" if at_once else "temporary"
        trained = {
            path for job in self.listing.jobs if job["stage"] == TRAINING for path in job["makes"]
        }
        streamable = sum(sizes[path] for path in sizes if trained.issuperset(self.readers[path]))
        free = free_bytes(Path(self.plan.results))
        return Disk(peaks, others, there, free, mode, streamable)

    def _adapted_bytes(self) -> int:
        """Stores of adapted models, which are targets themselves and are always kept."""
        if "adaptation" not in self.plan.config["analyses"]:
            return 0
        adaptation = AdaptationPlan(self.plan)
        total = 0
        for dataset, method, seed in adaptation.stored:
            stores: list[Artefact] = list(adaptation.stores(dataset, method, seed).values())
            prompts = adaptation.methods.get(method, {})
            n_prompts = {"vpt": "n_visual", "maple": "n_context"}.get(adaptation.kind(method))
            n = prompts[n_prompts] if n_prompts else 0
            images = self.images(dataset, adaptation.datasets[dataset]["test"]).n or 0
            due = [store for store in stores if store.path in self.to_make]
            total += len(due) * store_bytes(images, self.sizes, self.block, n)
        return total


def teraflops(rate: Rate) -> str:
    """A rate of FLOPs as text, with its source."""
    return f"{rate.per_second / 1e12:.3g} TFLOP/s ({rate.source})"
