"""Columns with a number per image, and their means, ratios of means and intervals.

Steering paper, Tables 3 and 4. A point estimate and its bootstrap go through the same formula. A
function with `@image_column` is all that a further column of reconstruction.csv takes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor

from clip_sae.metrics import bootstrap_means, ce_recovered, percentile_interval

_WITH_INTERVAL = {"explained_variance", "embedding_cosine", "ce", "recon_ce", "ce_recovered"}


@dataclass(frozen=True)
class TokenBatch:
    """Tokens of a batch of images and their reconstruction by an SAE, on the model's device.

    `x`, `x_hat` [image, token, d_model]; `latents` and `active` (latents > 0) [image, token,
    latent]. `subset` names the tokens: "all", "cls" or "patch".
    """

    subset: str
    x: Tensor
    x_hat: Tensor
    latents: Tensor
    active: Tensor

    @cached_property
    def l0(self) -> np.ndarray:
        """Active latents of each token [image, token]."""
        return self.active.sum(-1).cpu().numpy()


IMAGE_COLUMNS: dict[str, Callable[[TokenBatch], np.ndarray | Tensor]] = {}


def image_column(*, interval: bool = False) -> Callable:
    """Return a decorator that makes a function a column of reconstruction.csv, under its name.

    The function returns a number per image, [image]; the table has the mean over images and, with
    `interval`, its 95 % bootstrap as _low and _high.
    """

    def add(column: Callable) -> Callable:
        IMAGE_COLUMNS[column.__name__] = column
        if interval:
            _WITH_INTERVAL.add(column.__name__)
        return column

    return add


@image_column(interval=True)
def l0(tokens: TokenBatch) -> np.ndarray:
    """Active latents per token."""
    return tokens.l0.mean(1)


@image_column()
def cls_l0(tokens: TokenBatch) -> np.ndarray:
    """Active latents of CLS; NaN where the tokens lack it."""
    return np.full(len(tokens.l0), np.nan) if tokens.subset == "patch" else tokens.l0[:, 0]


@image_column()
def l0_per_image(tokens: TokenBatch) -> np.ndarray:
    """Active latents, summed over the tokens."""
    return tokens.l0.sum(1)


@image_column()
def distinct_latents_per_image(tokens: TokenBatch) -> Tensor:
    """Latents that are active at one token or more."""
    return tokens.active.any(1).sum(-1)


class ImageMetrics:
    """Named columns `[image]`, collected batch after batch."""

    def __init__(self) -> None:
        self._batches: dict[str, list[np.ndarray]] = {}

    def add(self, **columns: np.ndarray | Tensor) -> None:
        """Append one batch; every call must give the same columns."""
        if self._batches and set(columns) != set(self._batches):
            odd = sorted(set(columns) ^ set(self._batches))
            raise ValueError(f"columns {odd} are not in every batch; add the same ones each time")
        for name, values in columns.items():
            values = values.cpu().numpy() if isinstance(values, Tensor) else values
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
