"""How much a result depends on the words: the same embeddings under other prompts.

Steering paper Tables 1 and 5 to 8 name no prompt, and prompts move the worst group of Waterbirds by
tens of points. The headline's prompt is declared in the config; this is the spread beside it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from torch import Tensor

from clip_sae.analyses.shared.groups import Groups
from clip_sae.analyses.suppression.summary import compare
from clip_sae.analyses.suppression.text_side import SpuriousTexts, methods, predictions


@dataclass(frozen=True)
class Embedded:
    """Image embeddings [image, d_embed] of one split, and the images' groups."""

    images: Tensor
    groups: Groups

    def right(self, predicted: Tensor) -> np.ndarray:
        """Return [image] bool."""
        return predicted.cpu().numpy() == self.groups.label


def prompt_table(
    before: Embedded,
    after: Tensor,
    texts: Mapping[tuple[str, str], Tensor],
    train: np.ndarray,
    *,
    n_resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Return a row per prompt: the model as it is, and with the chosen set taken out.

    Args:
        before: clean test images; after: embeddings of the same ones without the set.
        texts: {(template, names): unit class texts [class, d_embed]}.
        train: [group] training images.

    Columns: template, names, and those of `summary.compare`.
    """
    rows = []
    for (template, names), text in texts.items():
        right = [before.right(predictions(images, text)) for images in (before.images, after)]
        options = {"n_resamples": n_resamples, "seed": seed}
        found = compare(*right, before.groups.group, train, **options)
        rows.append({"template": template, "names": names, **found})
    return pd.DataFrame(rows)


def text_table(
    val: Embedded,
    test: Embedded,
    text: Tensor,
    spurious: SpuriousTexts,
    train: np.ndarray,
    weights: Sequence[float],
    *,
    n_resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Return a row per text-side baseline, its weight chosen on validation, tested once.

    Of the weights of calibration, the one with the highest worst-group, then overall accuracy on
    validation, then the smaller. Columns: method, weight (NaN for none), val_overall, val_worst,
    and those of `summary.compare` on test, against the texts as they are.
    """
    found = {"val": {}, "test": {}}
    for split, part in (("val", val), ("test", test)):
        for key, predicted in methods(part.images, text, spurious, weights).items():
            found[split][key] = part.right(predicted)
    rows = []
    for name in dict.fromkeys(method for method, _ in found["val"]):
        scores = {
            weight: _scores(right, val.groups.group)
            for (method, weight), right in found["val"].items()
            if method == name
        }
        weight = max(scores, key=lambda w: (*scores[w], -(w or 0.0)))
        worst, overall = scores[weight]
        about = {"method": name, "weight": weight, "val_overall": overall, "val_worst": worst}
        right = found["test"]["none", None], found["test"][name, weight]
        options = {"n_resamples": n_resamples, "seed": seed}
        rows.append({**about, **compare(*right, test.groups.group, train, **options)})
    return pd.DataFrame(rows).astype({"weight": float})


def _scores(right: np.ndarray, group: np.ndarray) -> tuple[float, float]:
    """Worst-group and overall accuracy."""
    return min(right[group == g].mean() for g in np.unique(group)), right.mean()
