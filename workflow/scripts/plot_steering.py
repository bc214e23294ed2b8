"""Draw one of the steering figures: Figs 5, 6, 7 and 9, the dispersion, the baselines."""

import pandas as pd
from _figure import draw

from clip_sae.plotting.steering_baselines import draw_baselines
from clip_sae.plotting.steering_coverage import draw_coverage
from clip_sae.plotting.steering_curves import draw_steering_curves
from clip_sae.plotting.steering_dispersion import MEASURES, draw_dispersion
from clip_sae.plotting.steering_histogram import draw_steerability
from clip_sae.plotting.steering_tables import UNIT_COLUMNS
from clip_sae.plotting.steering_words import draw_words_along_strength
from clip_sae.vocabulary import read_mask


def table(arguments, name, **options):
    # "null" and "nan" are words as well, some of them in the authors' vocabulary.
    options = {"keep_default_na": False, "na_values": [""], **options}
    return pd.read_csv(arguments["tables"][name], **options)


def fig5(arguments):
    mask = read_mask(arguments["mask"])
    return draw_steering_curves(table(arguments, "traces"), gamma=arguments["gamma"], mask=mask)


def fig6(arguments):
    counts, layers = table(arguments, "histogram"), table(arguments, "layers")
    return draw_steerability(counts, layers, pd.read_csv(arguments["paper"]), **levels(arguments))


def fig7(arguments):
    layers, curves = table(arguments, "layers"), table(arguments, "rarefaction")
    return draw_coverage(layers, curves, pd.read_csv(arguments["paper"]), **levels(arguments))


def fig9(arguments):
    mask = read_mask(arguments["mask"])
    return draw_words_along_strength(table(arguments, "traces"), mask=mask)


def steerability_dispersion(arguments):
    columns = [*UNIT_COLUMNS, *(name for name, _ in MEASURES)]
    units = table(arguments, "units", usecols=columns)
    return draw_dispersion(units, table(arguments, "layers"), strength=arguments["strength"])


def steerability_baselines(arguments):
    tables = (table(arguments, name) for name in ("histogram", "layers", "rarefaction"))
    return draw_baselines(*tables, **levels(arguments))


def levels(arguments):
    return {name: arguments[name] for name in ("strength", "gamma")}


FIGURES = {
    "fig5": fig5,
    "fig6": fig6,
    "fig7": fig7,
    "fig9": fig9,
    "steerability_dispersion": steerability_dispersion,
    "steerability_baselines": steerability_baselines,
}

draw(snakemake, lambda arguments: FIGURES[arguments["figure"]](arguments))
