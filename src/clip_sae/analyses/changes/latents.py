"""The latents of each class in one model: how often and how strongly they are active, and what they
say for the class.

PatchSAE §5. The map from a latent to its class is taken at first order: m_j is what the class's
margin gains, on average over its images, when f_j grows by 1 at every token.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from clip_sae.adaptation import AdaptedClip
from clip_sae.analyses.changes.answers import Task
from clip_sae.analyses.shared.class_counts import THRESHOLD, ClassCounter, ClassCounts
from clip_sae.sae import Sae


@dataclass(frozen=True)
class ClassLatents:
    """What an SAE reads of one model, class by class.

    Attributes:
        halves: class-level counts of every other image of each class, and of the rest.
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
    """Return the latents of every class of `task` in `model`, of CLS and patches.

    The margin of a class is the model's logit of it minus the mean of the others' logits.
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
