"""Three tables of all units of one kind at one layer: units, layer and grid of strengths.

Steering paper §6, Eqs 4 to 8, 10 and 11. Every unit is measured at one finite strength and at its
limit. All units run the grid where the closed form makes it cheap, else a sample of them does.
Each chunk of units is measured on its own, so that a measurement resumes and splits over jobs.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from clip_sae.analyses.shared.chunks import Chunks
from clip_sae.analyses.steering.gathered_tables import strength_name
from clip_sae.analyses.steering.layer_summary import LayerSummary, Thresholds, resample_weights
from clip_sae.analyses.steering.routes import Routes, Steered
from clip_sae.analyses.steering.steered_units import SteeredUnits
from clip_sae.analyses.steering.strength_curves import half_saturation, onset
from clip_sae.analyses.steering.unit_measures import (
    UnitMeasures,
    Words,
    as_array,
    measure,
    steerability_floor,
)

INFINITY = float("inf")
CHUNK_UNITS = 256  # sums run chunk by chunk: another size changes the last digit
PER_UNIT = (
    *("delta_p", "total_variation", "steerability", "steerability_printed", "n_effective"),
    *("d_f", "d_f_authors", "dispersion_own"),
)
UNIT_COLUMNS = [
    *("unit", "strength", "alive", *PER_UNIT[:4], "steerability_floor", "n_effective"),
    *("top_words", "top_changes", "top_word_image0", "d_f", "d_f_authors", "dispersion_own"),
    *("push", "asymptote_cosine", "onset", "half_saturation"),
]
LAYER_COLUMNS = [
    *("strength", "quantity", "threshold", "value", "low", "high"),
    *("n_units", "n_alive", "n_sampled_from", "n_images", "n_words"),
]
GRID_COLUMNS = ["unit", "strength", "delta_p", "steerability", "total_variation", "top_word"]


@dataclass(frozen=True)
class LayerTables:
    """`units`: a row per unit and strength; `layer`: per quantity; `grid`: see GRID_COLUMNS."""

    units: pd.DataFrame
    layer: pd.DataFrame
    grid: pd.DataFrame


@dataclass(frozen=True)
class SteeringSettings:
    """Strengths, thresholds and sizes of a measurement.

    Attributes:
        strength: the finite strength at which every unit is measured (the paper: 150).
        strengths: the grid, ascending, with `strength` in it.
        grid_units: number of units that run the grid; None is all of them, 0 none.
        resamples, seed: of the bootstrap over images.
    """

    strength: float
    strengths: tuple[float, ...]
    thresholds: Thresholds
    grid_units: int | None
    resamples: int = 2000
    seed: int = 0


def n_chunks(n_units: int) -> int:
    """Return the number of chunks of so many units."""
    return len(_spans(n_units))


def _spans(n: int) -> list[tuple[int, int, int]]:
    """Return (number, first unit, end) of each chunk."""
    return [
        (k, start, min(start + CHUNK_UNITS, n)) for k, start in enumerate(range(0, n, CHUNK_UNITS))
    ]


def systematic_sample(values: np.ndarray, n: int, *, seed: int) -> np.ndarray:
    """Return indices, ascending, of `n` units spread evenly over the order of `values` [unit].

    Every unit has the same chance, so means need no weights, and units of every size are drawn.
    """
    values = np.asarray(values)
    if n >= len(values):
        return np.arange(len(values))
    order = np.argsort(values, kind="stable")
    ranks = (np.arange(n) + np.random.default_rng(seed).random()) * len(values) / n
    return np.sort(order[ranks.astype(np.int64)])


class LayerRun:
    """The measurement of `units`, steered by `routes` over the vocabulary `words`.

    Args:
        chunks: keeps measured chunks, and returns those of an earlier run or of other jobs.
    """

    def __init__(
        self,
        units: SteeredUnits,
        routes: Routes,
        words: Sequence[str],
        settings: SteeringSettings,
        *,
        units_per_batch: int = 16,
        chunks: Chunks | None = None,
        progress: bool = True,
    ) -> None:
        self.units, self.routes, self.settings = units, routes, settings
        self.names, self.units_per_batch = np.asarray(words, dtype=object), units_per_batch
        self.chunks, self.progress = chunks or Chunks(), progress
        self.words = Words.of(routes.text)
        self.floor = steerability_floor(routes.clean)
        self.mu_v_norm = float(torch.linalg.vector_norm(self.words.mean))
        drawn = resample_weights(len(routes.x), settings.resamples, settings.seed)
        self.weights = torch.from_numpy(drawn).float().to(routes.x.device)

    def tables(self) -> LayerTables:
        """Return the three tables.

        `units` has UNIT_COLUMNS: strength is "150.0" or "inf"; top_words and top_changes are
        "a|b|…", ten; push is the mean of ‖x′ − x‖ over tokens and images, NaN for inf; onset and
        half_saturation are NaN where the grid did not run; the rest is as in UnitMeasures. `layer`
        has LAYER_COLUMNS.
        """
        units, settings = self.units, self.settings
        everyone = np.arange(len(units))
        n_grid = len(units) if settings.grid_units is None else min(settings.grid_units, len(units))
        strengths = settings.strengths if n_grid else (settings.strength,)
        others = [s for s in strengths if s != settings.strength]
        with self._bar(2 * len(units) + n_grid * len(others)) as bar:
            at, summary = self._measure(everyone, settings.strength, bar)
            limit, limit_summary = self._measure(everyone, INFINITY, bar)
            chosen = systematic_sample(at["steerability"].to_numpy(), n_grid, seed=settings.seed)
            found = {settings.strength: (at.iloc[chosen], None)}
            found |= {s: self._measure(chosen, s, bar) for s in others}
        grid = [found[s][0] for s in strengths]
        curves = np.stack([part["steerability"] for part in grid], axis=1)  # [unit strength]
        start = np.full(len(units), np.nan)
        half = start.copy()
        start[chosen] = onset(strengths, curves, settings.thresholds.gamma)
        half[chosen] = half_saturation(strengths, curves, settings.strength)
        rows = pd.concat([at, limit], ignore_index=True)
        rows = rows.assign(onset=start[rows["unit"]], half_saturation=half[rows["unit"]])
        rows["unit"] = units.ids[rows["unit"]]
        summaries = [summary, limit_summary, *(found[s][1] for s in others)]
        layer = pd.concat(summaries, ignore_index=True)
        grid_table = pd.concat(grid, ignore_index=True)
        grid_table["top_word"] = grid_table["top_words"].str.split("|").str[0]
        grid_table["unit"] = units.ids[grid_table["unit"]]
        return LayerTables(rows[UNIT_COLUMNS], layer[LAYER_COLUMNS], grid_table[GRID_COLUMNS])

    def measure_chunks(self, which: Iterable[int]) -> None:
        """Measure some of the `n_chunks` chunks at the finite strength and the limit."""
        spans = [_spans(len(self.units))[k] for k in which]
        with self._bar(2 * sum(stop - start for _, start, stop in spans)) as bar:
            for strength in (self.settings.strength, INFINITY):
                for _ in self._parts(np.arange(len(self.units)), strength, spans, bar):
                    pass

    def _bar(self, total: int) -> tqdm:
        return tqdm(total=total, desc=self.units.kind, unit="unit", disable=not self.progress)

    def _measure(self, chosen: np.ndarray, strength: float, bar) -> tuple:
        """Return (unit rows, layer rows) of the units `chosen` [unit] at one strength.

        `unit` is the index among the units here; `tables` replaces it by their own number.
        """
        summary, tables = self._summary(len(chosen)), []
        for state in self._parts(chosen, strength, _spans(len(chosen)), bar):
            summary.merge(state)
            columns = (name for name in state if name.startswith("table|"))
            tables.append(
                pd.DataFrame({name.removeprefix("table|"): state[name] for name in columns})
            )
        name = strength_name(strength)
        rows = pd.concat(tables, ignore_index=True).assign(
            strength=name, steerability_floor=self.floor
        )
        layer = pd.DataFrame(summary.table(self.routes.clean, self.mu_v_norm)).assign(
            strength=name,
            n_units=summary.n_units,
            n_alive=summary.n_alive,
            n_sampled_from=self.units.n_existing,
            n_images=len(self.routes.x),
            n_words=len(self.names),
        )
        return rows, layer

    def _parts(
        self, chosen: np.ndarray, strength: float, spans: Iterable[tuple[int, int, int]], bar
    ) -> Iterator[Mapping[str, np.ndarray]]:
        """Yield each chunk's state of its summary, and the columns of its rows as "table|…"."""
        for k, start, stop in spans:
            name = f"{strength_name(strength)}-{len(chosen)}-{k:05d}"
            yield self.chunks.get(
                name,
                lambda k=k, part=chosen[start:stop]: self._chunk(k, part, len(chosen), strength),
            )
            bar.update(stop - start)

    @torch.inference_mode()
    def _chunk(self, k: int, chosen: np.ndarray, n: int, strength: float) -> dict[str, np.ndarray]:
        summary, tables = self._summary(n, chunk=k), []
        for index, steered, push in self._batches(chosen, strength):
            measures = measure(steered.probabilities, self.routes.clean, self.words)
            alive = self.units.alive[index]
            summary.add(measures, alive, steered.limit_cosine)
            tables.append(
                self._rows(measures).assign(
                    unit=index,
                    alive=alive,
                    push=push,
                    asymptote_cosine=as_array(steered.limit_cosine.mean(1)),
                )
            )
        rows = pd.concat(tables, ignore_index=True)
        text = {name for name in rows if not pd.api.types.is_numeric_dtype(rows[name])}
        return summary.state() | {
            f"table|{name}": rows[name].to_numpy(dtype=str if name in text else None)
            for name in rows
        }

    def _summary(self, n: int, chunk: int = 0) -> LayerSummary:
        return LayerSummary(
            self.weights,
            len(self.names),
            self.settings.thresholds,
            # Random directions are infinitely many: those measured are always a sample.
            sampled=n < self.units.n_existing or self.units.kind == "random",
            seed=(self.settings.seed, chunk),
        )

    def _batches(self, chosen, strength: float) -> Iterator[tuple[np.ndarray, Steered, object]]:
        for start in range(0, len(chosen), self.units_per_batch):
            index = chosen[start : start + self.units_per_batch]
            columns = torch.from_numpy(index).to(self.units.directions.device)
            directions = self.units.directions[columns]
            if strength == INFINITY:
                yield index, self.routes.asymptote(directions), np.nan
                continue
            pushes = self.units.pushes(columns, strength)  # [image token unit]
            steered = self.routes.steer(directions, pushes, sign=float(np.sign(strength)))
            yield index, steered, as_array(pushes.abs().mean((0, 1)) * directions.norm(dim=-1))

    def _rows(self, measures: UnitMeasures) -> pd.DataFrame:
        top = self.names[measures.top_words.cpu().numpy()]
        changes = as_array(measures.top_changes)
        columns = {name: as_array(getattr(measures, name)) for name in PER_UNIT}
        return pd.DataFrame(columns).assign(
            top_words=["|".join(row) for row in top],
            top_changes=["|".join(f"{value:.4g}" for value in row) for row in changes],
            top_word_image0=self.names[measures.top_word_image0.cpu().numpy()],
        )
