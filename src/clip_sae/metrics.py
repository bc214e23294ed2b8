"""Metrics as float64 sums: reconstruction quality, recovered cross-entropy, ranks, intervals.

Steering paper, columns of Tables 3 and 4 and the norm claim of Fig. 4. NumPy only; every metric is
built from sums or means over images, so the batch size cannot change it.
"""

from typing import NamedTuple

import numpy as np

_TINY = 1e-12
_CHUNK = 4_000_000  # resample counts in memory at once: 32 MB


class TokenErrors(NamedTuple):
    """Reconstruction of each token, every field `[..., token]`, float64."""

    squared_error: np.ndarray  # ‖x − x̂‖²
    squared_deviation: np.ndarray  # ‖x − centre‖²
    squared_norm: np.ndarray  # ‖x‖²
    cosine: np.ndarray  # cos(x, x̂); 0 where either is the zero vector


def token_errors(x: np.ndarray, x_hat: np.ndarray, centre: np.ndarray) -> TokenErrors:
    """Return squared error, deviation from `centre` `[d_model]`, squared norm, cosine per token.

    `x` and `x_hat` are `[..., token, d_model]`.
    """
    x, x_hat = np.asarray(x, dtype=np.float64), np.asarray(x_hat, dtype=np.float64)
    if x.shape != x_hat.shape:
        raise ValueError(
            f"x is {x.shape} but x_hat is {x_hat.shape}; both are [..., token, d_model]"
        )
    squared_norm = np.square(x).sum(-1)
    lengths = np.sqrt(squared_norm * np.square(x_hat).sum(-1))
    return TokenErrors(
        squared_error=np.square(x - x_hat).sum(-1),
        squared_deviation=np.square(x - centre).sum(-1),
        squared_norm=squared_norm,
        cosine=(x * x_hat).sum(-1) / np.maximum(lengths, _TINY),
    )


class ReconstructionSums:
    """Running sums over tokens; each property is a metric of all tokens so far.

    `centre` `[d_model]` is the mean token of the evaluation set. Without it the first batch's mean
    stands in: `explained_variance` stays exact, `explained_variance_prisma` raises ValueError.
    """

    def __init__(self, centre: np.ndarray | None = None):
        self.centre = None if centre is None else np.asarray(centre, dtype=np.float64)
        self._centre_is_mean = centre is not None
        self.n_tokens = 0

    def update(self, x: np.ndarray, x_hat: np.ndarray) -> TokenErrors:
        """Add a batch `[..., token, d_model]`; return its errors per token."""
        d_model = np.shape(x)[-1]
        if self.centre is None:
            self.centre = np.asarray(x, dtype=np.float64).reshape(-1, d_model).mean(0)
        errors = token_errors(x, x_hat, self.centre)
        if self.n_tokens == 0:
            self._error = self._deviation = self._norm = self._cosine = self._ratio = 0.0
            self._shift = np.zeros(d_model)
            self._xx, self._xy, self._yy = np.zeros((3, d_model))
        rows = np.asarray(x, dtype=np.float64).reshape(-1, d_model)
        rows_hat = np.asarray(x_hat, dtype=np.float64).reshape(-1, d_model)
        self.n_tokens += len(rows)
        self._error += errors.squared_error.sum()
        self._deviation += errors.squared_deviation.sum()
        self._norm += errors.squared_norm.sum()
        self._cosine += errors.cosine.sum()
        self._ratio += (errors.squared_error / np.maximum(errors.squared_deviation, _TINY)).sum()
        self._shift += (rows - self.centre).sum(0)
        self._xx += np.square(rows).sum(0)
        self._xy += (rows * rows_hat).sum(0)
        self._yy += np.square(rows_hat).sum(0)
        return errors

    @property
    def explained_variance(self) -> float:
        """1 − Σ‖x − x̂‖² / Σ‖x − x̄‖², sums over all tokens; at most 1."""
        self._require_tokens()
        total = self._deviation - np.square(self._shift).sum() / self.n_tokens
        return float(1 - self._error / total) if total > _TINY else float("nan")

    @property
    def explained_variance_prisma(self) -> float:
        """Mean over tokens of 1 − ‖x − x̂‖² / ‖x − x̄‖² (a mean of ratios; ViT-Prisma's log).

        ASSUME: x̄ is the evaluation set's mean; ViT-Prisma takes the mean of a training batch.
        """
        self._require_tokens()
        if not self._centre_is_mean:
            raise ValueError(
                "explained_variance_prisma needs the evaluation set's mean token: "
                "ReconstructionSums(centre=mean)"
            )
        return float(1 - self._ratio / self.n_tokens)

    @property
    def explained_variance_uncentred(self) -> float:
        """1 − Σ‖x − x̂‖² / Σ‖x‖² (PatchSAE's log; flattering when the mean is large)."""
        self._require_tokens()
        return float(1 - self._error / self._norm) if self._norm > _TINY else float("nan")

    @property
    def cosine_similarity(self) -> float:
        """Mean over tokens of cos(x, x̂)."""
        self._require_tokens()
        return float(self._cosine / self.n_tokens)

    @property
    def cosine_similarity_prisma(self) -> float:
        """Cosine across tokens of each coordinate, mean over d_model (ViT-Prisma `dim=0`).

        ASSUME: across all tokens of the evaluation set; ViT-Prisma averages over batches.
        """
        self._require_tokens()
        return float((self._xy / np.maximum(np.sqrt(self._xx * self._yy), _TINY)).mean())

    def _require_tokens(self) -> None:
        if self.n_tokens == 0:
            raise ValueError(
                "no tokens yet: call ReconstructionSums.update before reading a metric"
            )


def ce_recovered(ce, recon_ce, zero_ce):
    """Return (zero − recon) / (zero − clean): 1 = clean, 0 = zero-ablated, NaN without an effect.

    Takes numbers or arrays of mean cross-entropies in nats.
    """
    ce, recon_ce, zero_ce = (np.asarray(a, dtype=np.float64) for a in (ce, recon_ce, zero_ce))
    gap = zero_ce - ce
    gap = np.where(np.abs(gap) > 1e-9, gap, np.nan)
    return (zero_ce - recon_ce) / gap


def ranks(values: np.ndarray) -> np.ndarray:
    """Return ranks from 1 along a flat array; ties share their mean rank."""
    _, where, counts = np.unique(np.ravel(values), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[where]


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return Spearman's rank correlation of two arrays of one shape; NaN if either is constant."""
    if np.shape(a) != np.shape(b):
        raise ValueError(f"rank_correlation takes one shape, got {np.shape(a)} and {np.shape(b)}")
    rank_a, rank_b = (r - r.mean() for r in (ranks(a), ranks(b)))
    scale = np.sqrt(np.square(rank_a).sum() * np.square(rank_b).sum())
    return float((rank_a * rank_b).sum() / scale) if scale > 0 else float("nan")


def percentile_interval(draws: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Return the central `level` interval of draws `[resample]`; NaNs if any draw is NaN."""
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def resample_counts(rng: np.random.Generator, n_images: int, n: int) -> np.ndarray:
    """Return [resample, image]: how often each of `n` bootstrap resamples draws each image."""
    drawn = rng.integers(0, n_images, (n, n_images))
    drawn += np.arange(n)[:, None] * n_images
    return np.bincount(drawn.ravel(), minlength=n * n_images).reshape(n, n_images)


def bootstrap_means(values: np.ndarray, n: int = 2000, seed: int = 0) -> np.ndarray:
    """Return means [resample, column] of `n` resamples of the images of `values` [image, column].

    All columns share each resample, so ratios and differences of columns stay paired.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or len(values) == 0:
        raise ValueError(f"bootstrap_means takes [image, column] with images, got {values.shape}")
    n_images, rng = len(values), np.random.default_rng(seed)
    means = np.empty((n, values.shape[1]))
    # The chunk size depends on the image count alone, so every machine draws the same numbers.
    chunk = max(1, _CHUNK // n_images)
    for start in range(0, n, chunk):
        size = min(chunk, n - start)
        means[start : start + size] = resample_counts(rng, n_images, size) @ values / n_images
    return means
