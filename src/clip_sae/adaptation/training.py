"""Training of prompts: cross-entropy over the base classes, towers frozen, resumable at any epoch.

CoOp, VPT-deep and MaPLe as their authors train them: SGD with momentum 0.9, one epoch at a small
constant rate, then a cosine. The side without prompts is computed once: CoOp's images, VPT's texts.
"""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import cos, pi
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional as F

from clip_sae.adaptation.adapted import AdaptedClip
from clip_sae.adaptation.few_shot import epoch_order
from clip_sae.adaptation.prompts import Prompts
from clip_sae.clip.model import ClipModel
from clip_sae.planning.specs import canonical_json, write_bytes

MOMENTUM = 0.9
EMBED_BATCH = 64  # images per forward pass where no gradient is kept


@dataclass(frozen=True)
class AdaptationSettings:
    """Optimiser settings of a training of prompts.

    Attributes:
        lr: the rate after the warm-up; it falls along a cosine from epoch to epoch.
        warmup_epochs, warmup_lr: epochs at a small constant rate before.
        weight_decay: of every learned tensor.
        seed: of the order of images; the caller seeds the shots and the prompts' start.
    """

    lr: float
    epochs: int
    batch_images: int
    warmup_epochs: int = 1
    warmup_lr: float = 1e-5
    weight_decay: float = 5e-4
    seed: int = 0

    def lr_of(self, epoch: int) -> float:
        """Return the rate of an epoch, counted from 0."""
        if epoch < self.warmup_epochs:
            return self.warmup_lr
        return self.lr * (1 + cos(pi * epoch / self.epochs)) / 2


@dataclass(frozen=True)
class Epoch:
    """Means over the images of one epoch: loss (nats) and accuracy before each step."""

    loss: float
    accuracy: float


def train_prompts(
    model: ClipModel,
    prompts: Prompts,
    images: np.ndarray,
    labels: np.ndarray,
    names: list[str],
    settings: AdaptationSettings,
    *,
    state: Path | None = None,
    log: Callable[[str], None] = lambda text: None,
    stop_after: int | None = None,
) -> list[Epoch]:
    """Train `prompts` in place; return every epoch's means.

    Args:
        images: bytes [image, height, width, channel], as `ClipModel.normalise` takes them.
        labels: [image], index into `names`, the base classes.
        state: file with the state after each epoch. A killed training resumes from it and reaches
            the same tensors; a file of other settings or images raises ValueError.
        stop_after: epochs to run at most in this call, for tests of resuming.

    Raises ValueError for labels outside the names, and for a loss that is not finite.
    """
    images, labels = np.asarray(images), np.asarray(labels)
    if (
        len(images) != len(labels)
        or not len(labels)
        or not 0 <= labels.min() <= labels.max() < len(names)
    ):
        raise ValueError(
            f"{len(images)} images with {len(labels)} labels of {len(names)} classes: each image "
            "needs one label, from 0 up to the last class."
        )
    prompts.to(model.device)
    optimiser = torch.optim.SGD(
        prompts.parameters(), lr=0.0, momentum=MOMENTUM, weight_decay=settings.weight_decay
    )
    about = canonical_json(
        {"settings": asdict(settings), "spec": asdict(prompts.spec), "names": names}
        | {"labels": labels.tolist(), "images": _content(images), "model": model.source.model}
    )
    history = _resume(state, about, prompts, optimiser) if state else []
    if history:
        log(f"resumed after epoch {len(history)} from {state}")
    adapted = AdaptedClip.of_prompts(model, prompts)
    batches = _Features(adapted, prompts, images, names)
    end = min(settings.epochs, len(history) + (stop_after or settings.epochs))
    for epoch in range(len(history), end):
        for group in optimiser.param_groups:
            group["lr"] = settings.lr_of(epoch)
        order = epoch_order(len(labels), settings.seed, epoch)
        seen = np.zeros(2)
        for start in range(0, len(order), settings.batch_images):
            rows = order[start : start + settings.batch_images]
            answers = torch.from_numpy(labels[rows]).to(model.device)
            with torch.enable_grad():
                adapted.take_up(prompts)
                logits = adapted.logit_scale * batches.images(rows) @ batches.text().T
                loss = F.cross_entropy(logits, answers)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            right = float((logits.argmax(-1) == answers).sum())
            seen += float(loss.detach()) * len(rows), right
        history.append(Epoch(*(seen / len(order)).tolist()))
        _check_finite(history[-1].loss, epoch, settings)
        log(f"epoch {epoch + 1}: loss {history[-1].loss:.4f}, right {history[-1].accuracy:.3f}")
        if state:
            _keep(state, about, prompts, optimiser, history)
    return history


def embed_in_batches(adapted: AdaptedClip, images: np.ndarray) -> Tensor:
    """Return embeddings of unit length [image, d_embed] of bytes, without gradients."""
    model = adapted.image.model
    with torch.no_grad():
        parts = [
            adapted.embed_images(model.normalise(images[start : start + EMBED_BATCH]))
            for start in range(0, len(images), EMBED_BATCH)
        ]
    return torch.cat(parts)


class _Features:
    """Image and class embeddings of a step; the side without prompts is computed once."""

    def __init__(
        self, adapted: AdaptedClip, prompts: Prompts, images: np.ndarray, names: list[str]
    ) -> None:
        self.adapted, self.pixels, self.names = adapted, images, names
        learns_images = prompts.spec.n_visual > 0
        self.embedded = None if learns_images else embed_in_batches(adapted, images)
        with torch.no_grad():
            fixed = prompts.spec.n_context == 0
            self.fixed_text = adapted.class_embeddings(names) if fixed else None

    def images(self, rows: np.ndarray) -> Tensor:
        if self.embedded is not None:
            return self.embedded[torch.from_numpy(rows).to(self.embedded.device)]
        return self.adapted.embed_images(self.adapted.image.model.normalise(self.pixels[rows]))

    def text(self) -> Tensor:
        return (
            self.adapted.class_embeddings(self.names)
            if self.fixed_text is None
            else self.fixed_text
        )


def _content(images: np.ndarray) -> str:
    """Return the sha256 of the images' shape and bytes, in hex."""
    sha = hashlib.sha256(str(images.shape).encode())
    for image in images:  # one at a time: they may lie in a file
        sha.update(np.ascontiguousarray(image))
    return sha.hexdigest()


def _check_finite(loss: float, epoch: int, settings: AdaptationSettings) -> None:
    if not np.isfinite(loss):
        raise ValueError(
            f"the loss of epoch {epoch + 1} is {loss}: the prompts have diverged at lr "
            f"{settings.lr}. Choose a smaller one."
        )


def _keep(
    path: Path, about: str, prompts: Prompts, optimiser: torch.optim.SGD, history: list[Epoch]
) -> None:
    tensors = {f"prompt.{name}": value.detach() for name, value in prompts.named_parameters()}
    tensors |= {
        f"momentum.{name}": optimiser.state[value]["momentum_buffer"]
        for name, value in prompts.named_parameters()
        if "momentum_buffer" in optimiser.state[value]
    }
    tensors["history"] = torch.tensor([[e.loss, e.accuracy] for e in history], dtype=torch.float64)
    write_bytes(path, save({k: v.contiguous() for k, v in tensors.items()}, {"about": about}))


def _resume(path: Path, about: str, prompts: Prompts, optimiser: torch.optim.SGD) -> list[Epoch]:
    """Restore the state of `path` and return the epochs done; [] without a file."""
    if not path.exists():
        return []
    try:
        with safe_open(str(path), framework="pt") as file:
            if (file.metadata() or {}).get("about") != about:
                raise ValueError(
                    f"{path} is the state of a training with other settings, images or classes. "
                    "Delete it to start again."
                )
            tensors = {name: file.get_tensor(name) for name in list(file.keys())}
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error}). Delete it to start again.") from error
    with torch.no_grad():
        for name, parameter in prompts.named_parameters():
            parameter.copy_(tensors[f"prompt.{name}"])
            if f"momentum.{name}" in tensors:
                buffer = tensors[f"momentum.{name}"].to(parameter.device)
                optimiser.state[parameter]["momentum_buffer"] = buffer
    return [Epoch(*row) for row in tensors["history"].tolist()]
