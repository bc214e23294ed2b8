"""Draw the figures of steering: Figs 5, 6, 7 and 9, the dispersion, the baselines."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from clip_sae.analyses.steering.draw_baselines import draw_baselines
from clip_sae.analyses.steering.draw_coverage import draw_coverage
from clip_sae.analyses.steering.draw_curves import draw_steering_curves
from clip_sae.analyses.steering.draw_dispersion import MEASURES, draw_dispersion
from clip_sae.analyses.steering.draw_histogram import draw_steerability
from clip_sae.analyses.steering.draw_shared import UNIT_COLUMNS
from clip_sae.analyses.steering.draw_words import draw_words_along_strength
from clip_sae.clip.vocabulary import read_mask


def fig5(job, *, traces: Path, mask: Path | None, gamma: float) -> Figure:
    """Draw ΔP, S and the words of a few latents along the strength; words of the mask as dots."""
    return draw_steering_curves(_table(traces), gamma=gamma, mask=read_mask(mask))


def fig6(
    job, *, histogram: Path, layers: Path, paper: Path, strength: float, gamma: float
) -> Figure:
    """Draw the numbers of latents by steerability, next to the paper's counts."""
    levels = {"strength": strength, "gamma": gamma}
    return draw_steerability(_table(histogram), _table(layers), pd.read_csv(paper), **levels)


def fig7(
    job, *, layers: Path, rarefaction: Path, paper: Path, strength: float, gamma: float
) -> Figure:
    """Draw the concept coverage of latents and neurons by layer, next to the paper's."""
    levels = {"strength": strength, "gamma": gamma}
    return draw_coverage(_table(layers), _table(rarefaction), pd.read_csv(paper), **levels)


def fig9(job, *, traces: Path, mask: Path | None) -> Figure:
    """Draw the likeliest words of a few latents along the strength; words of the mask as dots."""
    return draw_words_along_strength(_table(traces), mask=read_mask(mask))


def steerability_dispersion(job, *, units: Path, layers: Path, strength: float) -> Figure:
    """Draw steerability against the spread of a unit's words."""
    columns = [*UNIT_COLUMNS, *(name for name, _ in MEASURES)]
    return draw_dispersion(_table(units, usecols=columns), _table(layers), strength=strength)


def steerability_baselines(
    job, *, histogram: Path, layers: Path, rarefaction: Path, strength: float, gamma: float
) -> Figure:
    """Draw the steerability of every kind of unit."""
    tables = (_table(path) for path in (histogram, layers, rarefaction))
    return draw_baselines(*tables, strength=strength, gamma=gamma)


def _table(path: Path, **options: object) -> pd.DataFrame:
    # "null" and "nan" are words as well, some of them in the authors' vocabulary.
    return pd.read_csv(path, keep_default_na=False, na_values=[""], **options)
