"""Answers of the model with a layer's tokens replaced: clean, zero-ablated, reconstructed.

Steering paper, columns CE, Recon CE, Zero Abl CE and Recon Cos Sim of Tables 3 and 4.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from clip_sae.analyses.shared.edits import replace, token_mask
from clip_sae.clip.model import ClipModel
from clip_sae.clip.zeroshot import class_embeddings, cross_entropy, logits


@dataclass(frozen=True)
class Readout:
    """A zero-shot head: unit class texts `[class, d_embed]` and the scale of their cosines.

    `suffix` ends the names of its columns: "" gives `ce`, "scale1" gives `ce_scale1`.
    """

    suffix: str
    text: Tensor
    scale: float

    def name(self, metric: str) -> str:
        return f"{metric}_{self.suffix}" if self.suffix else metric


def standard_readouts(
    model: ClipModel, class_names: Sequence[str], templates: str | Sequence[str] = "openai80"
) -> list[Readout]:
    """Return the three heads of the tables.

    "": `templates` (80 by default) at the model's logit scale, the headline. "bare": bare names at
    that scale, which Table 3 fits. "scale1": bare names at scale 1, Table 4's (its 6.908 is
    ln 1000).
    """
    bare = class_embeddings(model, class_names, "none")
    return [
        Readout("", class_embeddings(model, class_names, templates), model.logit_scale),
        Readout("bare", bare, model.logit_scale),
        Readout("scale1", bare, 1.0),
    ]


@dataclass(frozen=True)
class Baseline:
    """One batch without an SAE: clean embedding, and columns `[image]` by token subset."""

    embedding: Tensor  # [image, d_embed]
    columns: dict[str, dict[str, Tensor]]


class Substitution:
    """Forward passes from one cached layer and hook to every readout's answer."""

    def __init__(self, model: ClipModel, layer: int, hook: str, readouts: Sequence[Readout]):
        self.model, self.layer, self.hook, self.readouts = model, layer, hook, readouts

    def baseline(
        self, resid_post: Tensor, x: Tensor, labels: Tensor, subsets: Sequence[str]
    ) -> Baseline:
        """Return ce, accuracy, zero_ce (every token zeroed), zero_subset_ce (the subset's only).

        `resid_post` and the hook's tensor `x` are `[image, token, d_model]`, `labels` `[image]`.
        """
        zeros = torch.zeros_like(x)
        embedding = self._embed(resid_post, x, x, "all")
        shared = self._answers(embedding, labels, "ce", "accuracy")
        zeroed = self._embed(resid_post, zeros, x, "all")
        shared |= self._answers(zeroed, labels, "zero_ce")
        columns = {}
        for subset in subsets:
            part = zeroed if subset == "all" else self._embed(resid_post, zeros, x, subset)
            columns[subset] = shared | self._answers(part, labels, "zero_subset_ce")
        return Baseline(embedding, columns)

    def reconstructed(
        self,
        clean_embedding: Tensor,
        resid_post: Tensor,
        x: Tensor,
        x_hat: Tensor,
        labels: Tensor,
        subset: str,
    ) -> dict[str, Tensor]:
        """Return embedding_cosine, recon_ce, recon_accuracy `[image]`, x_hat in the subset."""
        embedding = self._embed(resid_post, x_hat, x, subset)
        cosine = F.cosine_similarity(embedding, clean_embedding, dim=-1)
        answers = self._answers(embedding, labels, "recon_ce", "recon_accuracy")
        return {"embedding_cosine": cosine, **answers}

    def _embed(self, resid_post: Tensor, new: Tensor, old: Tensor, subset: str) -> Tensor:
        mask = token_mask(resid_post.shape[1], subset)
        return replace(self.model, resid_post, self.layer, self.hook, new, old, mask).float()

    def _answers(
        self, embedding: Tensor, labels: Tensor, ce: str, accuracy: str | None = None
    ) -> dict[str, Tensor]:
        """Return cross-entropy in nats and, if named, correctness, per image and readout."""
        columns = {}
        for readout in self.readouts:
            text = readout.text.to(embedding.device)
            answer = logits(embedding, text, readout.scale)  # [image class]
            columns[readout.name(ce)] = cross_entropy(answer, labels)
            if accuracy is not None:
                columns[readout.name(accuracy)] = (answer.argmax(-1) == labels).float()
        return columns
