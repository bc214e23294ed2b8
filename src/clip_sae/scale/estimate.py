"""What one config needs: every quantity that `python -m clip_sae plan` prints, as plain values."""

from collections.abc import Callable, Mapping
from pathlib import Path

from clip_sae.planning.plan import Plan, PlannedSae
from clip_sae.scale.disk import Disk, free_bytes, peak_of_turns
from clip_sae.scale.listing import WorkListing
from clip_sae.scale.needs import Needs
from clip_sae.scale.quantities import Estimate, Speeds, SplitWork, Stage
from clip_sae.scale.rates import Rate, measured_rate, read_seconds
from clip_sae.scale.work import (
    encode_flops,
    forward_flops,
    sae_bytes,
    store_bytes,
    training_flops,
)

EXTRACTION, TRAINING = "extract", "train"


class Estimator(Needs):
    """What a target needs, how long it takes, and the disk at peak.

    Args:
        plan, listing, target, given: see `Needs`.
        speeds: of the devices, where no earlier job says it.
    """

    def __init__(
        self,
        plan: Plan,
        listing: WorkListing,
        target: str,
        given: Mapping[tuple[str, str], int],
        speeds: Speeds,
    ) -> None:
        super().__init__(plan, listing, target, given)
        self.speeds = speeds
        self.seconds = read_seconds(Path(plan.results) / "benchmarks")

    def estimate(self) -> Estimate:
        """Everything at once."""
        splits = [self.split(place) for place in sorted({p for p, _ in self.places.values()})]
        saes = self.planned_saes()
        stages = [self._extraction(splits), *self._other_stages(saes)]
        if self.plan.temporary:
            due = sum(bool(self.to_make.intersection(found)) for found in self.readers.values())
            stages.append(Stage("drop", len(self.readers), due))
        disk = self._disk(saes)
        unknown = sorted(
            f"{dataset}/{split}" for (dataset, split), c in self.counts.items() if c.n is None
        )
        return Estimate(
            self.target,
            splits,
            [self.sae_row(name, found) for name, found in saes.items()],
            [stage for stage in stages if stage.jobs],
            disk,
            self.cut if self.block["layers_at_once"] else [],
            unknown,
            self._absent_roots(),
            {place.split("/")[0]: self.plan.index(place.split("/")[0]).path for place in unknown},
        )

    def _absent_roots(self) -> dict[str, str]:
        """{data set: root} of what is read, has not been listed, and is not there."""
        found = {}
        for dataset in sorted({dataset for dataset, _ in self.counts}):
            block = self.plan.config["datasets"][dataset]
            made = any(block[key] is not None for key in ("draw", "attack", "augment"))
            listed = (self.plan.index(dataset).folder / "manifest.csv").is_file()
            if not made and not listed and not Path(block["root"]).exists():
                found[dataset] = block["root"]
        return found

    # --- stages -----------------------------------------------------------------------------------

    def _extraction(self, splits: list[SplitWork]) -> Stage:
        """Forward passes, limited by the tower's FLOPs or by reading images, the slower of both."""
        work, images, jobs, to_make = {}, {}, 0, 0
        for split in splits:
            place = (split.dataset, split.split)
            paths = [path for path, (where, _) in self.places.items() if where == place]
            passes = self.passes(paths)
            jobs += len(passes)
            rule = f"extract_{split.dataset}_{split.split}_block0"
            if len(passes) == 1 and not self.wanted.intersection(paths):
                images[rule] = split.images or 0  # has run, as one job: its speed can be measured
            due = self.passes([path for path in paths if path in self.wanted])
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
            ran = {job["job"]: 1.0 for job in jobs}
            per_job = measured_rate(ran, self.seconds)
            if per_job:
                stage.hours = len(due) / per_job.per_second / 3600
                stage.how = f"{1 / per_job.per_second:.1f} s a job, {per_job.source}"
            return stage
        text, flops = formula
        work = {job["job"]: flops(job) for job in jobs}
        stage.unit, stage.work = "FLOP", float(sum(work[job["job"]] for job in due))
        rate = self.speeds.flops
        if "flops" not in self.speeds.given:
            done = {job["job"]: work[job["job"]] for job in jobs if job not in due}
            # what is out of date ran as well, on work that an edit may have changed
            rate = measured_rate(done, self.seconds) or measured_rate(work, self.seconds) or rate
        stage.hours = stage.work / rate.per_second / 3600
        stage.how = f"{text} / {teraflops(rate)}"
        return stage

    def _trained(self, sae_of: Mapping[str, PlannedSae]) -> Callable[[Mapping], float]:
        def flops(job: Mapping) -> float:
            saes = [sae_of[path] for path in job["makes"] if path in sae_of]
            images = self.training_images(saes[0].name) if saes else 0
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
        sizes = {path: self.store_bytes(path) for path in self.wanted}
        there = sum(self.store_bytes(path) for path in self.readers if not self.absent(path))
        at_once = self.block["layers_at_once"]
        peaks = {"kept": sum(sizes.values()), "temporary": sum(sizes.values())}
        for n in sorted({1, at_once or 1}):
            cut = self.turns(n)
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
        layers = len({layer for path, (_, layer) in self.places.items() if path in sizes})
        return Disk(peaks, others, there, free, mode, streamable, layers)

    def _adapted_bytes(self) -> int:
        """Stores of adapted models, which are targets themselves and are always kept."""
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
            total += len(due) * store_bytes(images, self.sizes, self.block, n)
        return total


def teraflops(rate: Rate) -> str:
    """A rate of FLOPs as text, with its source."""
    return f"{rate.per_second / 1e12:.3g} TFLOP/s ({rate.source})"
