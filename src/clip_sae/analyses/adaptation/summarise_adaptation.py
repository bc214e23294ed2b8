"""Accuracies of all methods on all data sets: with intervals, and run by run."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from clip_sae.adaptation.few_shot import ClassHalves
from clip_sae.analyses.adaptation.base_to_novel import run_accuracies, summarise
from clip_sae.datasets.manifest import read_classes


def summarise_adaptation(
    job,
    *,
    answers: Mapping[str, Mapping[str, Path]],
    indices: Mapping[str, Path],
    resamples: int,
    seed: int,
) -> dict[str, pd.DataFrame]:
    """Return {"accuracies": a row per data set, method and group; "runs": and seed}.

    Args:
        answers: {data set: {method: answers of all seeds}}. indices: {data set: its index}.
    """
    summaries, runs = [], []
    for dataset, methods in answers.items():
        is_novel = ClassHalves(len(read_classes(indices[dataset]))).novel_classes
        tables = {}
        for method, path in methods.items():
            by_seed = dict(tuple(pd.read_csv(path).groupby("seed")))
            tables[method] = [table.reset_index(drop=True) for table in by_seed.values()]
            runs += [
                {"dataset": dataset, "method": method, "seed": one, "n_images": len(table)}
                | run_accuracies(table, is_novel)
                for one, table in by_seed.items()
            ]
        summary = summarise(tables, is_novel, n_resamples=resamples, seed=seed)
        summary.insert(0, "dataset", dataset)
        summaries.append(summary)
    return {"accuracies": pd.concat(summaries), "runs": pd.DataFrame(runs)}
