"""All units of one kind at one layer, at two strengths and along the whole grid: three tables.

Steering paper §6, Eqs 4 to 8, 10 and 11. Every unit is measured at one finite strength and at its
limit; the grid of strengths at all units where the closed form makes it cheap, else at a sample.
Units are measured in blocks, each for itself, so that a measurement resumes and splits over jobs.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from clip_sae.analyses.shared.blocks import Blocks
from clip_sae.analyses.steering.curves import half_saturation, onset
from clip_sae.analyses.steering.measures import UnitMeasures, Words, measure, steerability_floor
from clip_sae.analyses.steering.routes import Routes, Steered
from clip_sae.analyses.steering.sampling import resample_weights, systematic_sample
from clip_sae.analyses.steering.summary import LayerSummary, Thresholds
from clip_sae.analyses.steering.tables import strength_name
from clip_sae.analyses.steering.units import Units

INFINITY = float("inf")
BLOCK_UNITS = 256  # sums are taken block by block: another size is another last digit
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
class Settings:
    """What is measured.

    Attributes:
        strength: the finite strength at which every unit is measured (the paper: 150).
        strengths: the grid, ascending, which holds `strength`.
        grid_units: units that run the grid; None is all of them, 0 none.
        resamples, seed: of the bootstrap over images.
    """

    strength: float
    strengths: tuple[float, ...]
    thresholds: Thresholds
    grid_units: int | None
    resamples: int = 2000
    seed: int = 0


def measure_layer(
    units: Units,
    routes: Routes,
    words: Sequence[str],
    settings: Settings,
    *,
    units_per_batch: int = 16,
    blocks: Blocks | None = None,
    progress: bool = True,
) -> LayerTables:
    """Return the tables of `units`, steered by `routes` over the vocabulary `words`.

    `blocks` are those that `measure_part` or a run before this one measured, and keep the others.

    `units` has UNIT_COLUMNS: strength is "150.0" or "inf"; top_words and top_changes are "a|b|…",
    ten; push is the mean of ‖x′ − x‖ over tokens and images, NaN for inf; onset and half_saturation
    are NaN where the grid did not run; the rest is as in UnitMeasures. `layer` has LAYER_COLUMNS.
    """
    run = _Run(units, routes, words, settings, units_per_batch, blocks or Blocks())
    everyone = np.arange(len(units))
    n_grid = len(units) if settings.grid_units is None else min(settings.grid_units, len(units))
    strengths = settings.strengths if n_grid else (settings.strength,)
    others = [s for s in strengths if s != settings.strength]
    total = 2 * len(units) + n_grid * len(others)
    with tqdm(total=total, desc=units.kind, unit="unit", disable=not progress) as bar:
        at, summary = run.measure(everyone, settings.strength, bar)
        limit, limit_summary = run.measure(everyone, INFINITY, bar)
        chosen = systematic_sample(at["steerability"].to_numpy(), n_grid, seed=settings.seed)
        found = {settings.strength: (at.iloc[chosen], None)}
        found |= {s: run.measure(chosen, s, bar) for s in others}
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


def measure_part(
    units: Units,
    routes: Routes,
    words: Sequence[str],
    settings: Settings,
    blocks: Blocks,
    which: Iterable[int],
    *,
    units_per_batch: int = 16,
    progress: bool = True,
) -> None:
    """Measure some of the `n_blocks` blocks at the finite strength and the limit, into `blocks`."""
    run = _Run(units, routes, words, settings, units_per_batch, blocks)
    spans = [span for span in (_blocks(len(units))[k] for k in which)]
    total = 2 * sum(stop - start for _, start, stop in spans)
    with tqdm(total=total, desc=units.kind, unit="unit", disable=not progress) as bar:
        for strength in (settings.strength, INFINITY):
            for _ in run.parts(np.arange(len(units)), strength, spans, bar):
                pass


def n_blocks(n_units: int) -> int:
    """Blocks of so many units."""
    return len(_blocks(n_units))


def _blocks(n: int) -> list[tuple[int, int, int]]:
    """(number, first unit, end) of each block."""
    return [
        (k, start, min(start + BLOCK_UNITS, n)) for k, start in enumerate(range(0, n, BLOCK_UNITS))
    ]


class _Run:
    """What stays the same between strengths."""

    def __init__(self, units, routes, words, settings, units_per_batch, blocks) -> None:
        self.units, self.routes, self.settings, self.blocks = units, routes, settings, blocks
        self.names, self.units_per_batch = np.asarray(words, dtype=object), units_per_batch
        self.words = Words.of(routes.text)
        self.floor = steerability_floor(routes.clean)
        self.mu_v_norm = float(torch.linalg.vector_norm(self.words.mean))
        drawn = resample_weights(len(routes.x), settings.resamples, settings.seed)
        self.weights = torch.from_numpy(drawn).float().to(routes.x.device)

    def measure(self, chosen: np.ndarray, strength: float, bar) -> tuple:
        """Return (unit rows, layer rows) of the units `chosen` [unit] at one strength.

        `unit` is the place among the units here; `measure_layer` puts their own numbers in.
        """
        summary, tables = self._summary(len(chosen)), []
        for state in self.parts(chosen, strength, _blocks(len(chosen)), bar):
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

    def parts(
        self, chosen: np.ndarray, strength: float, spans: Iterable[tuple[int, int, int]], bar
    ) -> Iterator[Mapping[str, np.ndarray]]:
        """Yield each block's state of its summary, and the columns of its rows as "table|…"."""
        for k, start, stop in spans:
            name = f"{strength_name(strength)}-{len(chosen)}-{k:05d}"
            yield self.blocks.get(
                name,
                lambda k=k, part=chosen[start:stop]: self._block(k, part, len(chosen), strength),
            )
            bar.update(stop - start)

    @torch.inference_mode()
    def _block(self, k: int, chosen: np.ndarray, n: int, strength: float) -> dict[str, np.ndarray]:
        summary, tables = self._summary(n, block=k), []
        for index, steered, push in self._batches(chosen, strength):
            measures = measure(steered.probabilities, self.routes.clean, self.words)
            alive = self.units.alive[index]
            summary.add(measures, alive, steered.limit_cosine)
            tables.append(
                self._rows(measures).assign(
                    unit=index,
                    alive=alive,
                    push=push,
                    asymptote_cosine=_array(steered.limit_cosine.mean(1)),
                )
            )
        rows = pd.concat(tables, ignore_index=True)
        text = {name for name in rows if not pd.api.types.is_numeric_dtype(rows[name])}
        return summary.state() | {
            f"table|{name}": rows[name].to_numpy(dtype=str if name in text else None)
            for name in rows
        }

    def _summary(self, n: int, block: int = 0) -> LayerSummary:
        return LayerSummary(
            self.weights,
            len(self.names),
            self.settings.thresholds,
            # There is no end of random directions: those measured are always a sample.
            sampled=n < self.units.n_existing or self.units.kind == "random",
            seed=(self.settings.seed, block),
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
            yield index, steered, _array(pushes.abs().mean((0, 1)) * directions.norm(dim=-1))

    def _rows(self, measures: UnitMeasures) -> pd.DataFrame:
        top = self.names[measures.top_words.cpu().numpy()]
        changes = _array(measures.top_changes)
        columns = {name: _array(getattr(measures, name)) for name in PER_UNIT}
        return pd.DataFrame(columns).assign(
            top_words=["|".join(row) for row in top],
            top_changes=["|".join(f"{value:.4g}" for value in row) for row in changes],
            top_word_image0=self.names[measures.top_word_image0.cpu().numpy()],
        )


def _array(values: Tensor) -> np.ndarray:
    return values.double().cpu().numpy()
