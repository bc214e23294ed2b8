"""Summary of a layer, with intervals: means, shares and the words that its units name.

Steering paper Eqs 6, 7 and 8. Units are added batch by batch, so that no table of units × images ×
words is ever kept. Summaries of chunks of units merge in their order, so a split measurement equals
a whole one. Images are resampled, the same ones for every unit; a sample of units is resampled as
well, except in counts of different words, which repeated units would always lower: those counts
describe this sample.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from clip_sae.analyses.steering.unit_measures import UnitMeasures, as_array
from clip_sae.metrics import percentile_interval, rank_correlation

PERFECT = 0.9
DISPERSIONS = ("d_f", "d_f_authors", "dispersion_own")
COLUMNS = ("quantity", "threshold", "value", "low", "high")
_RANKED = 200  # resamples of the rank correlation: it needs S of every unit in each


@dataclass(frozen=True)
class Thresholds:
    """γ of Eq. 7 (strict) and the values of β of Eq. 8."""

    gamma: float
    beta: tuple[float, ...]

    @property
    def both(self) -> list[float]:
        return sorted({self.gamma, *self.beta})


@dataclass
class LayerSummary:
    """Eqs 6 to 8 of units added batch by batch, all at one strength.

    Args:
        weights: [resample, image], each row sums to 1.
        n_words: size of the vocabulary.
        sampled: True resamples the units too, as they are a sample (Poisson weights, mean 1).
        seed: of the resampling of units, one number or several.
    """

    weights: Tensor
    n_words: int
    thresholds: Thresholds
    sampled: bool = False
    seed: int | tuple[int, ...] = 0
    _rows: list[dict[str, np.ndarray]] = field(default_factory=list)

    def __post_init__(self) -> None:
        n_resamples = len(self.weights)
        levels = self.thresholds.both
        self._rng = np.random.default_rng(self.seed)
        self._units = np.zeros(n_resamples)  # Σ of unit weights
        self._alive = np.zeros(n_resamples)
        self._sums = {
            name: np.zeros(n_resamples) for name in ("all", "alive", "printed", "perfect", "cosine")
        }
        self._above = np.zeros((len(levels), n_resamples))
        self._named = torch.zeros(
            len(levels), n_resamples, self.n_words, dtype=torch.bool, device=self.weights.device
        )
        self._ranked: list[np.ndarray] = []

    def add(self, measures: UnitMeasures, alive: np.ndarray, limit_cosine: Tensor) -> None:
        """Add a batch: its measures, `alive` [unit] bool and `limit_cosine` [unit, image]."""
        weights = self.weights.to(measures.gram.dtype)
        drawn = ((weights @ measures.gram) * weights).sum(-1)  # S [unit resample]
        excess = measures.steerability_printed - measures.steerability
        drawn -= _excess(excess, weights).unsqueeze(-1)
        s = as_array(drawn)
        unit_weights = np.ones_like(s)
        if self.sampled:
            unit_weights = self._rng.poisson(1.0, s.shape).astype(np.float64)
        squares = measures.gram.diagonal(dim1=-2, dim2=-1)
        self._units += unit_weights.sum(0)
        self._alive += unit_weights[alive].sum(0)
        self._sums["all"] += (unit_weights * s).sum(0)
        self._sums["alive"] += (unit_weights * s)[alive].sum(0)
        self._sums["printed"] += (unit_weights * as_array(squares @ weights.T)).sum(0)
        cosine = limit_cosine.to(weights.dtype) @ weights.T
        self._sums["cosine"] += (unit_weights * as_array(cosine)).sum(0)
        self._sums["perfect"] += (unit_weights * (s >= PERFECT)).sum(0)
        for row, level in zip(self._above, self.thresholds.both, strict=True):
            row += (unit_weights * (s > level)).sum(0)
        self._add_named(measures, drawn, weights)
        self._ranked.append(s[:, :_RANKED].astype(np.float32))
        self._rows.append(
            {
                "s": as_array(measures.steerability),
                "printed": as_array(measures.steerability_printed),
                "word": measures.top_words[:, 0].cpu().numpy(),
                "word0": measures.top_word_image0.cpu().numpy(),
                "cosine": as_array(limit_cosine.mean(1)),
                "alive": alive,
                **{name: as_array(getattr(measures, name)) for name in DISPERSIONS},
            }
        )

    def state(self) -> dict[str, np.ndarray]:
        """Return everything that was added, as arrays for `merge`."""
        named = np.packbits(self._named.cpu().numpy(), axis=-1)
        sums = {f"sum|{name}": values for name, values in self._sums.items()}
        rows = {f"row|{key}": self._column(key) for key in self._rows[0]}
        counts = {"units": self._units, "alive": self._alive, "above": self._above}
        return counts | sums | rows | {"named": named, "ranked": np.concatenate(self._ranked)}

    def merge(self, state: Mapping[str, np.ndarray]) -> None:
        """Add the units of another summary of the same images, words and thresholds."""
        self._units += state["units"]
        self._alive += state["alive"]
        self._above += state["above"]
        for name, values in self._sums.items():
            values += state[f"sum|{name}"]
        shape = tuple(self._named.shape)
        named = np.unpackbits(state["named"], axis=-1, count=shape[-1]).astype(bool)
        self._named |= torch.from_numpy(named).to(self._named.device)
        self._ranked.append(state["ranked"])
        rows = (name for name in state if name.startswith("row|"))
        self._rows.append({name.removeprefix("row|"): state[name] for name in rows})

    def _column(self, key: str) -> np.ndarray:
        return np.concatenate([part[key] for part in self._rows])

    def _add_named(self, measures: UnitMeasures, drawn: Tensor, weights: Tensor) -> None:
        """Mark the word of each unit that is above a level, in each resample.

        A resample's first word is the best of the unit's ten strongest.
        """
        near = drawn.amax(1) > min(self.thresholds.both)
        if not bool(near.any()):
            return
        changes = weights @ measures.top_image_changes[near].to(weights.dtype)  # [unit resample 10]
        words = measures.top_words[near].gather(1, changes.argmax(-1))  # [unit resample]
        resample = torch.arange(len(weights), device=words.device).expand_as(words)
        for named, level in zip(self._named, self.thresholds.both, strict=True):
            above = drawn[near] > level
            named[resample[above], words[above]] = True

    def table(self, clean: Tensor, mu_v_norm: float) -> list[dict]:
        """Return rows quantity, threshold, value, low, high; clean P [image, word]."""
        rows = {key: self._column(key) for key in self._rows[0]}
        s, alive, n = rows["s"], rows["alive"], len(rows["s"])
        units, sums = self._units, self._sums
        printed = _ratio(sums["printed"], units)
        found = [
            _row("mean_steerability", s.mean(), _ratio(sums["all"], units)),
            _row("mean_steerability_alive", _mean(s[alive]), _ratio(sums["alive"], self._alive)),
            _row("mean_steerability_printed", _mean(rows["printed"]), printed),
            _row("n_perfect", (s >= PERFECT).sum(), _ratio(sums["perfect"], units) * n, PERFECT),
            _row("asymptote_cosine", _mean(rows["cosine"]), _ratio(sums["cosine"], units)),
            *(self._rank_row(name, rows[name], s) for name in DISPERSIONS),
            _row("mu_v_norm", mu_v_norm),
            _row("steerability_floor", *self._floor(clean)),
        ]
        for level, above, named in zip(self.thresholds.both, self._above, self._named, strict=True):
            count, over, share = (s > level).sum(), s > level, _ratio(above, units)
            words = len(np.unique(rows["word"][over]))
            words0 = len(np.unique(rows["word0"][over]))
            found += [
                _row("n_steerable", count, share * n, level),
                _row("steerable_fraction", count / n, share, level),
                _row("concept_coverage", words, as_array(named.sum(-1)), level),
                _row("concept_coverage_image0", words0, None, level),
                _row("n_above_coverage_threshold", count, share * n, level),
            ]
        return found

    @property
    def n_units(self) -> int:
        return sum(len(part["s"]) for part in self._rows)

    @property
    def n_alive(self) -> int:
        return sum(int(part["alive"].sum()) for part in self._rows)

    def _rank_row(self, name: str, dispersion: np.ndarray, s: np.ndarray) -> dict:
        """Return the rank correlation of a dispersion and S; resamples change only S.

        A sample of units gets no interval: it would describe these units alone.
        """
        if self.sampled:
            return _row(f"{name}_rank_correlation", rank_correlation(dispersion, s))
        drawn = np.concatenate(self._ranked)  # [unit resample]
        ranked = np.array([rank_correlation(dispersion, column) for column in drawn.T])
        return _row(f"{name}_rank_correlation", rank_correlation(dispersion, s), ranked)

    def _floor(self, clean: Tensor) -> tuple[float, np.ndarray]:
        clean = clean.to(self.weights.dtype)
        floor = clean.mean(0).square().sum()
        drawn = (self.weights @ clean).square().sum(-1)
        drawn -= _excess(clean.square().sum(-1).mean() - floor, self.weights)
        return float(floor), as_array(drawn)


def resample_weights(n_images: int, n_resamples: int, seed: int) -> np.ndarray:
    """Return [resample, image] float64, rows sum to 1: the weight of each image in each resample.

    The same for every unit, kind and layer, so that comparisons are paired.
    """
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(n_images, np.full(n_images, 1 / n_images), size=n_resamples)
    return counts / n_images


def _excess(variance: Tensor, weights: Tensor) -> Tensor:
    """Return what resampling adds to the square of a mean, on average: the variance over n images.

    Each draw is lowered by it; otherwise an interval of few images would lie above its estimate.
    """
    return variance / weights.shape[1]


def _row(quantity: str, value, drawn: np.ndarray | None = None, threshold=np.nan) -> dict:
    low, high = (np.nan, np.nan) if drawn is None else percentile_interval(drawn)
    return dict(zip(COLUMNS, (quantity, threshold, float(value), low, high), strict=True))


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.divide(a, b, out=np.full(len(a), np.nan), where=b > 0)
