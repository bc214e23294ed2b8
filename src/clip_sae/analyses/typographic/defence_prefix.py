"""Defence-Prefix: one learned vector before the class name, so that CLIP names the thing it sees.

Steering paper §7.2 (Table 2, the method it is compared with); Azuma and Matsui 2023. Neither tower
is changed: the image features of clean and attacked images are computed once, and a step of the
training runs the text tower over one prompt per class. A prefix belongs to one text tower.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import cos, pi
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional as F

from clip_sae.clip.model import ClipModel
from clip_sae.clip.zeroshot import class_embeddings, templates
from clip_sae.planning.specs import write_bytes

PLACEHOLDER = "*"  # the token whose embedding the vector replaces
LAST_LR = 5e-5  # where the cosine ends, as in the authors' training


@dataclass(frozen=True)
class PrefixSettings:
    """Options of the training; the defaults are the authors'.

    `identity_weight` weighs the divergence between the class probabilities of clean images with
    and without the prefix, `init_std` is the spread of the starting vector.
    """

    lr: float = 0.002
    epochs: int = 10
    batch_images: int = 512
    identity_weight: float = 3.0
    init_std: float = 0.02
    seed: int = 0


@dataclass(frozen=True)
class TrainedPrefix:
    """The vector [text width] and the mean losses of each epoch, (defence, identity)."""

    vector: Tensor
    losses: list[tuple[float, float]]


def with_placeholder(name: str) -> str:
    """Return the class name after the token that the prefix replaces."""
    return f"{PLACEHOLDER} {name}"


def embed_prefixed(model: ClipModel, texts: Sequence[str], vector: Tensor) -> Tensor:
    """Return [text, d_embed] of unit length, with `vector` in place of each text's "*".

    Everything else is the ordinary text tower, and gradients reach `vector` [text width]. Raises
    ValueError for a text without exactly one "*".
    """
    tokens = model.tokenizer(list(texts)).to(model.device)
    at = tokens == _placeholder_id(model)  # [text position]
    wrong = [text for text, n in zip(texts, at.sum(1).tolist(), strict=True) if n != 1]
    if wrong:
        raise ValueError(
            f"a prefix replaces exactly one {PLACEHOLDER!r} per text; {wrong[0]!r} has another "
            f"number of them. Class names and templates must not contain {PLACEHOLDER!r}."
        )
    with _replaced_embedding(model, at.unsqueeze(-1), vector.to(model.device)):
        return model.module.encode_text(tokens, normalize=True)


def prefixed_class_embeddings(
    model: ClipModel,
    names: Sequence[str],
    prompts: str | Sequence[str],
    vector: Tensor,
    batch_texts: int = 256,
) -> Tensor:
    """Return `class_embeddings` [class, d_embed] with the prefix before every class name."""
    prompts = templates(prompts)
    texts = [prompt.replace("{}", with_placeholder(name)) for name in names for prompt in prompts]
    parts = [
        embed_prefixed(model, texts[start : start + batch_texts], vector)
        for start in range(0, len(texts), batch_texts)
    ]
    text = torch.cat(parts).unflatten(0, (len(names), len(prompts)))
    return F.normalize(text.mean(dim=1), dim=-1)


def train_prefix(
    model: ClipModel,
    clean: Tensor,
    attacked: Tensor,
    labels: Tensor,
    names: Sequence[str],
    prompts: str | Sequence[str] = "openai80",
    settings: PrefixSettings = PrefixSettings(),
    log: Callable[[str], None] = lambda text: None,
) -> TrainedPrefix:
    """Learn the vector from image embeddings [image, d_embed] of clean images and their attacks.

    Loss: cross-entropy of attacked images against prefixed class texts, plus `identity_weight`
    times KL(clean images with ordinary texts ‖ clean images with prefixed texts); both at the
    model's logit scale, one random template a step. SGD without momentum; the rate falls along a
    cosine from epoch to epoch.

    Args:
        labels: index into `names` of each image's true class.
    """
    _check_images(clean, attacked, labels, names)
    prompts = templates(prompts)
    clean, attacked = (F.normalize(x.float(), dim=-1).to(model.device) for x in (clean, attacked))
    labels = labels.to(model.device)
    rng = np.random.default_rng(settings.seed)
    width = _token_embedding(model).weight.shape[1]
    start = rng.normal(0.0, settings.init_std, width).astype(np.float32)
    vector = torch.from_numpy(start).to(model.device).requires_grad_()
    ordinary: dict[int, Tensor] = {}  # [class d_embed] of each template met so far
    losses = []
    for epoch in range(settings.epochs):
        lr = LAST_LR + (settings.lr - LAST_LR) * (1 + cos(pi * epoch / settings.epochs)) / 2
        order = torch.from_numpy(rng.permutation(len(labels))).to(model.device)
        steps = []
        for rows in order.split(settings.batch_images):
            chosen = int(rng.integers(len(prompts)))
            if chosen not in ordinary:
                with torch.no_grad():
                    ordinary[chosen] = class_embeddings(model, names, [prompts[chosen]])
            texts = [prompts[chosen].replace("{}", with_placeholder(name)) for name in names]
            with torch.enable_grad():
                prefixed = embed_prefixed(model, texts, vector)
                terms = _losses(
                    *(clean[rows], attacked[rows], labels[rows]),
                    *(ordinary[chosen], prefixed, model.logit_scale),
                )
                loss = terms[0] + settings.identity_weight * terms[1]
            (gradient,) = torch.autograd.grad(loss, vector)
            with torch.no_grad():
                vector -= lr * gradient
            steps.append([float(term.detach()) for term in terms])
        losses.append(tuple(np.mean(steps, axis=0).tolist()))
        log(f"epoch {epoch + 1}: defence {losses[-1][0]:.4f}, identity {losses[-1][1]:.5f}")
    return TrainedPrefix(vector.detach().cpu(), losses)


def save_prefix(path: Path, vector: Tensor, facts: dict[str, str]) -> None:
    """Write a .safetensors file with the vector and `facts` about it, whole or not at all."""
    write_bytes(Path(path), save({"vector": vector.contiguous()}, metadata=facts))


def load_prefix(path: Path) -> Tensor:
    """Read the vector [text width] of a file that `save_prefix` wrote."""
    try:
        opened = safe_open(str(path), framework="pt")
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged, or no .safetensors file ({error}).") from error
    with opened as file:
        if "vector" not in file.keys():  # noqa: SIM118 (not a mapping)
            raise ValueError(f"{path} holds {sorted(file.keys())}, but no prefix `vector`.")
        return file.get_tensor("vector")


def _losses(
    clean: Tensor,
    attacked: Tensor,
    labels: Tensor,
    ordinary: Tensor,
    prefixed: Tensor,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """Return (defence, identity): means over images, natural log."""
    defence = F.cross_entropy(scale * attacked @ prefixed.T, labels)
    wanted = (scale * clean @ ordinary.T).softmax(-1)
    found = (scale * clean @ prefixed.T).log_softmax(-1)
    return defence, F.kl_div(found, wanted, reduction="batchmean")


def _check_images(clean: Tensor, attacked: Tensor, labels: Tensor, names: Sequence[str]) -> None:
    if clean.shape != attacked.shape or len(clean) != len(labels) or not len(clean):
        raise ValueError(
            f"a prefix needs pairs: clean {list(clean.shape)}, attacked "
            f"{list(attacked.shape)} and {len(labels)} labels must hold the same images, one "
            "at least."
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= len(names):
        raise ValueError(f"labels go from {low} to {high}, but there are {len(names)} class names.")


def _token_embedding(model: ClipModel) -> torch.nn.Embedding:
    """Return the embedding of text tokens, of open_clip's CLIP or of its separate text tower."""
    for owner in (model.module, getattr(model.module, "text", None)):
        found = getattr(owner, "token_embedding", None)
        if isinstance(found, torch.nn.Embedding):
            return found
    raise ValueError(
        f"{model.source.model!r} has no token embedding of open_clip's own text tower, so a prefix "
        "cannot be put in. Choose a CLIP with open_clip's text transformer, e.g. ViT-B-32."
    )


def _placeholder_id(model: ClipModel) -> int:
    alone, empty = (model.tokenizer([text])[0].tolist() for text in (PLACEHOLDER, ""))
    # The two rows differ where "*" pushed the end of text one place on.
    if sum(a != b for a, b in zip(alone, empty, strict=True)) != 2 or alone[2] != empty[1]:
        raise ValueError(
            f"the tokenizer of {model.source.model!r} does not read {PLACEHOLDER!r} as one token."
        )
    return alone[1]


@contextmanager
def _replaced_embedding(model: ClipModel, at: Tensor, vector: Tensor) -> Iterator[None]:
    """While open, token embeddings at `at` [text, position, 1] are `vector`."""

    def put_in(_module: torch.nn.Module, _inputs: tuple, output: Tensor) -> Tensor:
        return torch.where(at, vector.to(output.dtype), output)

    handle = _token_embedding(model).register_forward_hook(put_in)
    try:
        yield
    finally:
        handle.remove()
