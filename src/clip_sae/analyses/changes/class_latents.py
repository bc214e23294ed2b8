"""The latents of each class in one model, and the strongest that stay, appear and vanish.

PatchSAE §5. The map from a latent to its class is taken at first order: m_j is the gain of the
class's margin, on average over its images, if f_j grows by 1 at every token. A latent that counts
at no token of a class is not strong there, so a class may have fewer than k strong latents.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from clip_sae.adaptation import AdaptedClip
from clip_sae.analyses.changes.crossings import Task
from clip_sae.analyses.shared.class_counts import THRESHOLD, ClassCounter, ClassCounts
from clip_sae.metrics import rank_correlation
from clip_sae.sae import Sae

PERSISTS, APPEARS, VANISHES = "persists", "appears", "vanishes"


@dataclass(frozen=True)
class ClassLatents:
    """The latents of one model, class by class.

    Attributes:
        halves: class-level counts of every other image of each class, and of the others.
        activation: [class, latent] mean over images and tokens of f.
        map: [class, latent] m of the class itself, in logits.
    """

    halves: tuple[ClassCounts, ClassCounts]
    activation: np.ndarray
    map: np.ndarray

    @property
    def counts(self) -> ClassCounts:
        """Class-level counts of all images."""
        one, two = self.halves
        return ClassCounts(
            one.counts + two.counts, one.n_images + two.n_images, one.active + two.active
        )


def read_classes_of(
    model: AdaptedClip, sae: Sae, layer: int, task: Task, *, threshold: float = THRESHOLD
) -> ClassLatents:
    """Return the latents of every class of `task` in `model`, over CLS and patches.

    The margin of a class is its logit minus the mean of the others' logits.
    """
    n_classes, device = len(task.names), sae.W_dec.device
    halves = [ClassCounter(n_classes, sae.d_sae, threshold=threshold, device=device) for _ in "ab"]
    activation = torch.zeros(n_classes, sae.d_sae, dtype=torch.float64, device=device)
    slope = torch.zeros(n_classes, sae.d_model, dtype=torch.float64, device=device)
    with torch.no_grad():
        text = model.class_embeddings(task.names)
    n_tokens = model.image.model.architecture.n_tokens
    half = _every_other(task.label)
    for which, pixels in task.batches():
        with torch.no_grad():
            x = model.run_to(pixels, [layer])[layer]
            latents = sae.encode(x[:, :n_tokens]).latents
            scale = sae.token_scale(x[:, :n_tokens])
        label = task.label[which]
        for number, counter in enumerate(halves):
            own = half[which] == number
            counter.add(latents[torch.as_tensor(own, device=device)], label[own])
        at = torch.as_tensor(label, device=device)
        activation.index_add_(0, at, latents.double().mean(1))
        gradient = margin_gradient(model, x, layer, text, at)[:, :n_tokens]
        slope.index_add_(0, at, (scale * gradient).double().sum(1))
    n_images = np.maximum(np.bincount(task.label, minlength=n_classes), 1)[:, None]
    return ClassLatents(
        tuple(counter.result() for counter in halves),
        activation.cpu().numpy() / n_images,
        (slope @ sae.W_dec.double().T).cpu().numpy() / n_images,
    )


def margin_gradient(
    model: AdaptedClip, x: Tensor, layer: int, text: Tensor, label: Tensor
) -> Tensor:
    """Return d margin / d x [image, token, d_model] of each image's own class.

    Args:
        x: the residual after `layer`.
        text: unit class texts [class, d_embed].
        label: [image] class index.
    """
    x = x.detach().clone().requires_grad_(True)
    with torch.enable_grad():
        logits = model.logit_scale * model.run_from(x, layer) @ text.T  # [image class]
        own = logits.gather(1, label[:, None]).squeeze(1)
        others = (logits.sum(1) - own) / max(logits.shape[1] - 1, 1)
        [gradient] = torch.autograd.grad((own - others).sum(), x)
    return gradient


def _every_other(label: np.ndarray) -> np.ndarray:
    """Return [image], 0 or 1 in turn within each class."""
    half = np.zeros(len(label), dtype=np.int64)
    for c in np.unique(label):
        half[label == c] = np.arange((label == c).sum()) % 2
    return half


def latent_table(
    before: ClassLatents, after: ClassLatents, names: Sequence[str], k: int
) -> pd.DataFrame:
    """Return a row per class and latent that is among its k strongest before or after.

    Columns: class, latent, status (persists, appears, vanishes), rank_before, rank_after (from 1,
    by class-level count), activation_before, activation_after (mean f over images and tokens),
    map_before, map_after (logits of the class's margin per unit of f).
    """
    counted = [side.counts for side in (before, after)]
    rank = [_ranks(counts.ranked()) for counts in counted]
    rows = []
    for c, name in enumerate(names):
        was, now = (
            (ranks[c] <= k) & (counts.counts[c] > 0)
            for ranks, counts in zip(rank, counted, strict=True)
        )
        for latent in np.flatnonzero(was | now):
            status = VANISHES if not now[latent] else PERSISTS if was[latent] else APPEARS
            row = {"class": name, "latent": int(latent), "status": status}
            for end, side, ranks in zip(("before", "after"), (before, after), rank, strict=True):
                row[f"rank_{end}"] = int(ranks[c, latent])
                row[f"activation_{end}"] = side.activation[c, latent]
                row[f"map_{end}"] = side.map[c, latent]
            rows.append(row)
    return pd.DataFrame(rows)


def class_change_table(
    before: ClassLatents, after: ClassLatents, names: Sequence[str], k: int
) -> pd.DataFrame:
    """Return a row per class: how many of its k strongest latents persist, and how they change.

    Columns: class, n_images, persist, appear and vanish (numbers of latents), overlap (persist /
    the larger of both sets, k latents each if so many count at all; NaN if both are
    empty), overlap_halves (the same between two halves of the class's images in the first model),
    overlap_chance (of two random sets of these sizes: the smaller / alive latents),
    count_correlation (rank correlation of the counts over alive latents), activation_change and
    map_change: Σ_j |after_j − before_j| / Σ_j |before_j| of mean activations and of the map, over
    the latents that are among the k strongest before or after.

    overlap can exceed overlap_halves: the halves hold different images, and half as many, while
    overlap compares two models on the same images. The halves show the effect of the images alone.
    """
    counted = [side.counts for side in (before, after)]
    tops = [_strong(counts, k) for counts in counted]
    halves = [_strong(half, k) for half in before.halves]
    alive = counted[0].alive | counted[1].alive
    rows = []
    for c, name in enumerate(names):
        was, now = tops[0][c], tops[1][c]
        persist = len(np.intersect1d(was, now))
        strong = np.union1d(was, now)
        rows.append(
            {
                "class": name,
                "n_images": int(counted[0].n_images[c]),
                "persist": persist,
                "appear": len(now) - persist,
                "vanish": len(was) - persist,
                "overlap": _overlap(was, now),
                "overlap_halves": _overlap(halves[0][c], halves[1][c]),
                "overlap_chance": min(len(was), len(now)) / max(alive.sum(), 1)
                if len(strong)
                else float("nan"),
                "count_correlation": rank_correlation(
                    counted[0].counts[c, alive], counted[1].counts[c, alive]
                ),
                "activation_change": _relative(before.activation[c], after.activation[c], strong),
                "map_change": _relative(before.map[c], after.map[c], strong),
            }
        )
    return pd.DataFrame(rows)


def _strong(counts: ClassCounts, k: int) -> list[np.ndarray]:
    """Return [class]: the latents of greatest count, at most k, each with a count above 0."""
    tops = zip(counts.ranked()[:, :k], counts.counts, strict=True)
    return [top[own[top] > 0] for top, own in tops]


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Return the shared latents over the larger set; NaN if both are empty."""
    size = max(len(one), len(other))
    return len(np.intersect1d(one, other)) / size if size else float("nan")


def _relative(before: np.ndarray, after: np.ndarray, at: np.ndarray) -> float:
    """Return Σ |after − before| / Σ |before| of the entries `at`; NaN if all are 0 before."""
    total = np.abs(before[at]).sum()
    return float(np.abs(after[at] - before[at]).sum() / total) if total > 0 else float("nan")


def _ranks(ranked: np.ndarray) -> np.ndarray:
    """Return [class, latent]: the rank of each latent, from 1; `ranked` holds latents in order."""
    ranks = np.empty_like(ranked)
    np.put_along_axis(ranks, ranked, np.arange(1, ranked.shape[1] + 1)[None, :], axis=1)
    return ranks
