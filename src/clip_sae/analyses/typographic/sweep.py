"""Every τ and λ on attacked validation images: accuracy, text confusion and clean accuracy.

Steering paper §7.2.1 ("a sweep over the λ and τ values on the validation set"). The benchmarks are
never read here.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from torch import Tensor

from clip_sae.analyses.shared.edited_embeddings import over_chain
from clip_sae.analyses.shared.pairs import PairedImages
from clip_sae.analyses.shared.units import Units
from clip_sae.analyses.typographic.candidates import Candidate
from clip_sae.clip.model import ClipModel


def sweep_table(
    model: ClipModel,
    pairs: PairedImages,
    layer: int,
    units: Units,
    chains: Sequence[Sequence[Candidate]],
    text: Tensor,
) -> pd.DataFrame:
    """One row per (λ, τ), and a first one for the empty set (τ = ∞).

    Args:
        text: unit class embeddings [class, d_embed].

    Columns: tau, lambda, n_selected (gap > τ), n_units (with the closure), n_images,
    attacked_accuracy, text_confusion, clean_accuracy.
    """
    text = text.to(model.device)

    def predict(embedding: Tensor) -> Tensor:
        return (embedding @ text.T).argmax(-1)

    rows = []
    for number, chain in enumerate(chains):
        none = Candidate(float("inf"), chain[0].lam, np.zeros(0, dtype=np.int64), 0)
        whole = [none, *chain]
        sets = [candidate.units for candidate in whole]
        attacked = over_chain(model, pairs.attacked, layer, units, sets, predict)
        clean = over_chain(model, pairs.clean, layer, units, sets, predict)
        for candidate, on_attacked, on_clean in zip(whole, attacked, clean, strict=True):
            if candidate is none and number:
                continue  # the empty set is the same for every λ
            rows.append(
                {
                    "tau": candidate.tau,
                    "lambda": candidate.lam,
                    "n_selected": candidate.n_selected,
                    "n_units": len(candidate.units),
                    "n_images": len(pairs.label),
                    "attacked_accuracy": _share(on_attacked == pairs.label),
                    "text_confusion": _share(on_attacked == pairs.word),
                    "clean_accuracy": _share(on_clean == pairs.label),
                }
            )
    return pd.DataFrame(rows)


def _share(hits: Tensor) -> float:
    return float(hits.double().mean())
