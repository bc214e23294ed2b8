"""Columns with a number per image, and their means, ratios of means and intervals.

Steering paper, Tables 3 and 4. A point estimate and its bootstrap go through the same formula.
"""

from collections.abc import Sequence

import numpy as np
import torch

from clip_sae.metrics import bootstrap_means, ce_recovered, percentile_interval

_WITH_INTERVAL = ("explained_variance", "l0", "embedding_cosine", "ce", "recon_ce", "ce_recovered")


class ImageMetrics:
    """Named columns `[image]`, collected batch after batch."""

    def __init__(self) -> None:
        self._batches: dict[str, list[np.ndarray]] = {}

    def add(self, **columns: np.ndarray | torch.Tensor) -> None:
        """Append one batch; every call must give the same columns."""
        if self._batches and set(columns) != set(self._batches):
            odd = sorted(set(columns) ^ set(self._batches))
            raise ValueError(f"columns {odd} are not in every batch; add the same ones each time")
        for name, values in columns.items():
            values = values.cpu().numpy() if isinstance(values, torch.Tensor) else values
            self._batches.setdefault(name, []).append(np.asarray(values, dtype=np.float64))

    @property
    def n_images(self) -> int:
        return sum(map(len, next(iter(self._batches.values()), [])))

    def values(self) -> dict[str, np.ndarray]:
        """Return every column, `[image]` float64."""
        return {name: np.concatenate(parts) for name, parts in self._batches.items()}

    def summary(
        self, suffixes: Sequence[str], n_resamples: int = 2000, seed: int = 0
    ) -> dict[str, float]:
        """Return means over images and the metrics built from them, intervals as _low and _high.

        `suffixes` name the readouts whose ce, recon_ce, zero_ce and zero_subset_ce are present.
        """
        columns = self.values()
        names, stacked = list(columns), np.stack(list(columns.values()), axis=1)  # [image column]
        draws = bootstrap_means(stacked, n_resamples, seed)
        estimates = _metrics(dict(zip(names, stacked.mean(0), strict=True)), suffixes)
        resampled = _metrics(dict(zip(names, draws.T, strict=True)), suffixes)
        summary = {}
        for name, estimate in estimates.items():
            summary[name] = float(estimate)
            if name in _interval_names(suffixes):
                summary[f"{name}_low"], summary[f"{name}_high"] = percentile_interval(
                    resampled[name]
                )
        return summary


def _metrics(means: dict[str, np.ndarray], suffixes: Sequence[str]) -> dict[str, np.ndarray]:
    """Return metrics from means over images; each mean is a number or `[resample]`."""
    metrics = dict(means)
    error, deviation = metrics.pop("squared_error"), metrics.pop("squared_deviation")
    # The centre stays that of the whole evaluation set in every resample.
    ratio = np.divide(error, deviation, where=np.asarray(deviation) > 0, out=_nan_like(error))
    metrics = {"explained_variance": 1 - ratio, **metrics}
    for end in (f"_{suffix}" if suffix else "" for suffix in suffixes):
        clean, recon = means[f"ce{end}"], means[f"recon_ce{end}"]
        metrics[f"ce_recovered{end}"] = ce_recovered(clean, recon, means[f"zero_ce{end}"])
        metrics[f"ce_recovered_subset{end}"] = ce_recovered(
            clean, recon, means[f"zero_subset_ce{end}"]
        )
    return metrics


def _interval_names(suffixes: Sequence[str]) -> set[str]:
    ends = [f"_{suffix}" for suffix in suffixes if suffix]
    per_readout = [name for name in _WITH_INTERVAL if "ce" in name.split("_")]
    return {*_WITH_INTERVAL, *(name + end for name in per_readout for end in ends)}


def _nan_like(values: np.ndarray) -> np.ndarray:
    return np.full(np.shape(values), np.nan)
