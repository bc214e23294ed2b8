"""Measures of one unit: how much, how sharply and towards which words it moves the answer.

Steering paper Eqs 4, 5, 10 and 11. P̃_i and P_i are the steered and the clean distribution over
words of image i, d_i = P̃_i − P_i, and a bar is the mean over images. Where the paper's equation
and its code differ, this module computes both under their own names.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

TOP_WORDS = 10


@dataclass(frozen=True)
class Words:
    """The vocabulary of Eqs 10 and 11.

    Attributes:
        text: unit text embeddings [word, d_embed].
        mean: μ_V [d_embed]; distance: ‖t_v − μ_V‖ [word].
    """

    text: Tensor
    mean: Tensor
    distance: Tensor

    @classmethod
    def of(cls, text: Tensor) -> "Words":
        mean = text.mean(0)
        return cls(text, mean, torch.linalg.vector_norm(text - mean, dim=-1))


@dataclass(frozen=True)
class UnitMeasures:
    """Measures of a batch of units, tensors [unit] unless noted.

    Attributes:
        delta_p: max_v d̄_v (Eq. 4 as plotted); total_variation: ½‖d̄‖₁.
        steerability: ‖d̄‖² (Eq. 5, with the stated 1/n_c property); steerability_printed: the
            mean over images of ‖d_i‖², never smaller. Both lie in [0, 2].
        n_effective: 1 / Σ_v P̃̄_v², which is n_c where the mean steered distribution is uniform on
            n_c words.
        d_f: Σ_v P̃̄_v ‖t_v − μ_V‖ (Eq. 11 as printed); d_f_authors: ‖Σ_v d̄_v t_v − μ_V/‖μ_V‖‖;
            dispersion_own: Σ_v P̃̄_v ‖t_v − Σ_w P̃̄_w t_w‖².
        top_words, top_changes: the words of the largest d̄_v, and these [unit, 10].
        top_word_image0: argmax_v P̃_0v, of the first image alone.
        gram: d_i · d_k [unit, image, image]; resampling the images needs nothing else.
        top_image_changes: d_iv of `top_words` [unit, image, 10].
    """

    delta_p: Tensor
    total_variation: Tensor
    steerability: Tensor
    steerability_printed: Tensor
    n_effective: Tensor
    d_f: Tensor
    d_f_authors: Tensor
    dispersion_own: Tensor
    top_words: Tensor
    top_changes: Tensor
    top_word_image0: Tensor
    gram: Tensor
    top_image_changes: Tensor


def measure(steered: Tensor, clean: Tensor, words: Words) -> UnitMeasures:
    """Return the measures of units from P̃ [unit, image, word] and P [image, word]."""
    changes = steered - clean
    mean_change, mean_steered = changes.mean(1), steered.mean(1)  # [unit word]
    gram = changes @ changes.mT
    top = mean_change.topk(min(TOP_WORDS, mean_change.shape[-1]), dim=-1)
    centroid = mean_steered @ words.text  # [unit d_embed]
    target = words.mean / torch.linalg.vector_norm(words.mean)
    # ‖t_v‖ = 1, so the mean square distance to the centroid c is 1 − ‖c‖².
    spread = 1 - centroid.square().sum(-1)
    return UnitMeasures(
        delta_p=top.values[:, 0],
        total_variation=mean_change.abs().sum(-1) / 2,
        steerability=mean_change.square().sum(-1),
        steerability_printed=gram.diagonal(dim1=-2, dim2=-1).mean(-1),
        n_effective=1 / mean_steered.square().sum(-1),
        d_f=mean_steered @ words.distance,
        d_f_authors=torch.linalg.vector_norm(mean_change @ words.text - target, dim=-1),
        dispersion_own=spread.clamp_min(0),
        top_words=top.indices,
        top_changes=top.values,
        top_word_image0=steered[:, 0].argmax(-1),
        gram=gram,
        top_image_changes=changes.gather(
            2, top.indices.unsqueeze(1).expand(-1, changes.shape[1], -1)
        ),
    )


def steerability_floor(clean: Tensor) -> float:
    """Return ‖P̄‖², the score of a unit that only spreads the answer; `clean` is [image, word]."""
    return float(clean.double().mean(0).square().sum())


def as_array(values: Tensor) -> np.ndarray:
    """Return a tensor as float64 on the CPU."""
    return values.double().cpu().numpy()
