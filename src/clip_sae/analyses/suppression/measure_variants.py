"""Other readings of Eq. 9 of one SAE for every data set, and its sets of several layers at once.

Beyond steering paper §7.1, which ablates one layer at a time. Layers join in the order of what
their own chosen set does on validation, and validation decides how many.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from torch import Tensor

from clip_sae.analyses.shared.edited_embeddings import LayerSet, embeddings_without
from clip_sae.analyses.shared.groups import N_GROUPS, Scores, count_correct
from clip_sae.analyses.shared.models import load_model
from clip_sae.analyses.shared.names import CONDITIONS
from clip_sae.analyses.shared.store_images import StoreImages
from clip_sae.analyses.suppression.choose import best_on_validation, choose
from clip_sae.analyses.suppression.grouped_set import Embedded, GroupedSet, chosen_set
from clip_sae.analyses.suppression.set_summary import compare, summary_of
from clip_sae.analyses.suppression.text_side import predictions
from clip_sae.clip.model import ClipModel
from clip_sae.planning.inputs import ClipFiles

KINDS = ("latent", "neuron_matched", "neuron")


def measure_variants(
    job,
    *,
    clip: ClipFiles | None,
    sets: Mapping[str, Mapping],
    layers: Sequence[int],
    max_drop: float,
    resamples: int,
    seed: int,
) -> pd.DataFrame:
    """Return the rows of `best_layers`, then of the joined layers, with the column dataset.

    Args:
        clip: None where no layers are joined.
        sets: {data set: cases {case: folders of its layers}, units (the SAE's label), joined (see
            `_joined_rows`, or None)}.
        layers: that may be picked.
    """
    options = {"n_resamples": resamples, "seed": seed}
    model = None if clip is None else load_model(job, clip)
    tables = []
    for name, entry in sets.items():
        summaries = {case: summary_of(found, **options) for case, found in entry["cases"].items()}
        table = best_layers(summaries, entry["units"], layers)
        if model is not None:
            summary = summaries[entry["joined"]["case"]]
            rows = _joined_rows(job, model, summary, entry, max_drop=max_drop, **options)
            table = pd.concat([table, pd.DataFrame(rows)], ignore_index=True)
        table.insert(0, "dataset", name)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def best_layers(
    summaries: Mapping[str, pd.DataFrame], units: str, layers: Sequence[int]
) -> pd.DataFrame:
    """Return a row per case, condition and kind of units: that of the best layer on validation.

    Columns: case, where (the layer, as text), and those of the summary.

    Args:
        summaries: {case: summary of its layers}, as of `summarise_layer`.
        units: the SAE that is compared with neurons.
        layers: those that may be picked, so that every case has the same choice.
    """
    rows = []
    for case, summary in summaries.items():
        test = summary[(summary["split"] == "test") & summary["layer"].isin(list(layers))]
        for condition in CONDITIONS:
            for kind in KINDS:
                own = test[(test["condition"] == condition) & (test["kind"] == kind)]
                row = best_on_validation(own, None if kind == "neuron" else [units])
                if row is not None:
                    rows.append({"case": case, "where": str(row["layer"]), **row})
    return pd.DataFrame(rows)


def _joined_rows(
    job, model: ClipModel, summary: pd.DataFrame, entry: Mapping, *, max_drop: float, **options: int
) -> list[dict]:
    """Return a row per condition: the chosen sets of several layers of one data set, at zero.

    Args:
        summary: of the case whose sets are joined; entry: has units, and joined: case, index,
            layers {layer: contrast, saes, stores, tokens_read}, attribute, images, template, names.
    """
    joined, units = entry["joined"], entry["units"]
    own = GroupedSet(joined["index"], joined["attribute"], joined["images"], options["seed"])
    images = {
        (int(layer), split): own.images(files["stores"][split], tokens=files["tokens_read"])
        for layer, files in joined["layers"].items()
        for split in ("val", "test")
    }
    text = own.texts(model, joined["template"], joined["names"])
    several = SeveralLayers(model, text, images, own)
    latents = summary[
        (summary["split"] == "test")
        & (summary["kind"] == "latent")
        & (summary["units"] == units)
        & summary["layer"].astype(str).isin(list(joined["layers"]))
    ]
    rows = []
    for condition in CONDITIONS:
        chosen = [row for _, row in latents[latents["condition"] == condition].iterrows()]
        sets = [
            chosen_set(row, joined["layers"][str(row["layer"])], job.torch_device())
            for row in chosen
        ]
        scores = [(row["val_worst"], row["val_overall"]) for row in chosen]
        row = several.row(sets, scores, condition, max_drop, **options)
        about = {"case": "several_layers", "where": row.pop("layers"), "kind": "latent"}
        rows.append({**about, "condition": condition, "units": units, **row})
    return rows


class SeveralLayers:
    """Sets of one data set, joined layer after layer.

    Args:
        text: unit class texts [class, d_embed].
        images: {(layer, split)} of all layers that a set may be of, splits "val" and "test".
    """

    def __init__(
        self,
        model: ClipModel,
        text: Tensor,
        images: Mapping[tuple[int, str], StoreImages],
        own: GroupedSet,
    ) -> None:
        self.model, self.text, self.images, self.own = model, text, images, own

    def row(
        self,
        sets: Sequence[LayerSet],
        scores: Sequence[tuple],
        condition: str,
        points: float,
        **options: int,
    ) -> dict:
        """Join layers as `prefixes` does, choose how many on validation, test once.

        Keys: layers, n_units (of all together), val_overall, val_worst, and those of `compare`,
        which takes `options`.
        """
        joined = prefixes(sets, scores)
        val = pd.DataFrame([self._val_row(n, group) for n, group in enumerate(joined)])
        label = choose(val, condition, points)
        chosen, row = joined[label], val.loc[label]
        first = chosen[0].layer if chosen else sets[0].layer
        before, group = self._right(first, "test", ())
        after, _ = self._right(first, "test", chosen)
        return {
            "layers": "+".join(str(one.layer) for one in chosen),
            "n_units": row["n_units"],
            "val_overall": row["overall"],
            "val_worst": row["worst"],
            **compare(before, after, group, self.own.train, **options),
        }

    def _val_row(self, n: int, sets: Sequence[LayerSet]) -> dict:
        """Return a row of `choose`: of equal rows, fewer layers win, as larger taus do."""
        first = sets[0].layer if sets else min(layer for layer, _ in self.images)
        right, group = self._right(first, "val", sets)
        total = np.bincount(group, minlength=N_GROUPS)
        columns = Scores(count_correct(right, group), total, self.own.train).columns()
        tau = 1 / n if n else np.inf
        n_units = sum(len(one.chosen) for one in sets)
        return {"split": "val", "n_units": n_units, "tau_high": tau, **columns}

    def _right(
        self, layer: int, split: str, sets: Sequence[LayerSet]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return right answers [image] bool and groups [image], from the residual of `layer`."""
        images = self.images[layer, split]
        embeddings = embeddings_without(self.model, layer, images, sets)
        found = Embedded(embeddings, self.own.groups.at(images.rows))
        return found.right(predictions(embeddings, self.text)), found.groups.group


def prefixes(sets: Sequence[LayerSet], scores: Sequence[tuple]) -> list[list[LayerSet]]:
    """Return no layer, the best one, the two best, … all of them; empty sets are left out.

    Args:
        scores: of each set, on validation; the highest first, ties in the order of `sets`.
    """
    order = sorted(range(len(sets)), key=lambda i: scores[i], reverse=True)
    ranked = [sets[i] for i in order if len(sets[i].chosen)]
    return [sorted(ranked[:n], key=lambda s: s.layer) for n in range(len(ranked) + 1)]
