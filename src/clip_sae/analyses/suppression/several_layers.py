"""Sets of several layers taken out in one run, each from what the layers before it left.

Beyond steering paper §7.1, which ablates one layer at a time. Layers join in the order of what
their own chosen set does on validation, and validation says how many.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from torch import Tensor

from clip_sae.analyses.shared.edited_embeddings import LayerSet, embeddings_without
from clip_sae.analyses.shared.groups import N_GROUPS, Groups, Scores, count_correct
from clip_sae.analyses.shared.store_images import StoreImages
from clip_sae.analyses.suppression.choose import choose
from clip_sae.analyses.suppression.summary import compare
from clip_sae.analyses.suppression.text_side import predictions
from clip_sae.clip.model import ClipModel


def prefixes(sets: Sequence[LayerSet], scores: Sequence[tuple]) -> list[list[LayerSet]]:
    """Return no layer, the best one, the two best, … all of them; empty sets are left out.

    Args:
        scores: of each set, on validation; the highest first, ties in the order of `sets`.
    """
    order = sorted(range(len(sets)), key=lambda i: scores[i], reverse=True)
    ranked = [sets[i] for i in order if len(sets[i].chosen)]
    return [sorted(ranked[:n], key=lambda s: s.layer) for n in range(len(ranked) + 1)]


class SeveralLayers:
    """Sets of one data set, joined layer after layer.

    Args:
        text: unit class texts [class, d_embed].
        images: {(layer, split)} of all layers that a set may be of, splits "val" and "test".
        groups: of every row of the manifest; train: [group] training images.
    """

    def __init__(
        self,
        model: ClipModel,
        text: Tensor,
        images: Mapping[tuple[int, str], StoreImages],
        groups: Groups,
        train: np.ndarray,
    ) -> None:
        self.model, self.text, self.images = model, text, images
        self.groups, self.train = groups, train

    def row(
        self,
        sets: Sequence[LayerSet],
        scores: Sequence[tuple],
        condition: str,
        points: float,
        *,
        n_resamples: int = 2000,
        seed: int = 0,
    ) -> dict:
        """Join layers as `prefixes` does, choose how many on validation, test once.

        Keys: layers, n_units (of all together), val_overall, val_worst, and those of `compare`.
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
            **compare(before, after, group, self.train, n_resamples=n_resamples, seed=seed),
        }

    def _val_row(self, n: int, sets: Sequence[LayerSet]) -> dict:
        """As a row of `choose`: of equal ones, fewer layers go before more, as larger taus do."""
        first = sets[0].layer if sets else min(layer for layer, _ in self.images)
        right, group = self._right(first, "val", sets)
        total = np.bincount(group, minlength=N_GROUPS)
        columns = Scores(count_correct(right, group), total, self.train).columns()
        tau = 1 / n if n else np.inf
        n_units = sum(len(one.chosen) for one in sets)
        return {"split": "val", "n_units": n_units, "tau_high": tau, **columns}

    def _right(
        self, layer: int, split: str, sets: Sequence[LayerSet]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Right answers [image] bool and groups [image], images at the residual of `layer`."""
        images = self.images[layer, split]
        groups = self.groups.at(images.rows)
        predicted = predictions(embeddings_without(self.model, layer, images, sets), self.text)
        return predicted.cpu().numpy() == groups.label, groups.group
