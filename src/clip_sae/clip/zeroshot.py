"""Zero-shot classification: class embeddings of prompts, cross-entropy and accuracy.

§3.3 (Tables 3, 4: CE with 80 prompts) and every accuracy of the paper. Radford et al. 2021, §3.1.4.
"""

from collections.abc import Sequence

import open_clip
import torch
from torch import Tensor
from torch.nn import functional as F

from clip_sae.clip.model import ClipModel

NAMED_TEMPLATES = ("openai80", "none")


def templates(name: str | Sequence[str]) -> tuple[str, ...]:
    """Return prompts with one "{}" for the class name.

    "openai80" are OpenAI's 80 ImageNet prompts, "none" is the bare name; a list of prompts is
    checked and returned.
    """
    if name == "openai80":
        return tuple(template("{}") for template in open_clip.OPENAI_IMAGENET_TEMPLATES)
    if name == "none":
        return ("{}",)
    if isinstance(name, str):
        raise ValueError(
            f"templates {name!r} do not exist; write {', '.join(NAMED_TEMPLATES)} or a list of "
            'prompts such as ["a photo of a {}."].'
        )
    bad = [prompt for prompt in name if prompt.count("{}") != 1]
    if bad or not name:
        raise ValueError(
            f"a template has exactly one {{}} for the class name; found: {bad or 'no template'}."
        )
    return tuple(name)


def class_embeddings(
    model: ClipModel, names: Sequence[str], prompts: str | Sequence[str] = "openai80"
) -> Tensor:
    """Return [class, d_embed] of unit length: the renormalised mean of the prompts' embeddings."""
    prompts = templates(prompts)
    # "{}" is replaced, not formatted: a class name or prompt may hold other braces.
    texts = [prompt.replace("{}", name) for name in names for prompt in prompts]
    text = model.embed_text(texts).unflatten(0, (len(names), len(prompts)))
    return F.normalize(text.mean(dim=1), dim=-1)  # [class d_embed]


def logits(image_embeddings: Tensor, text: Tensor, scale: float) -> Tensor:
    """Return [image, class]: `scale` times the cosine of images [image, d_embed] and `text`.

    Image embeddings may be raw or of unit length. `scale` is the model's own (about 100 for
    trained CLIPs), or 1 for the paper's Table 4.
    """
    images = F.normalize(image_embeddings.float(), dim=-1)
    return scale * images @ F.normalize(text.float(), dim=-1).T.to(images.device)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return [image], natural log: −log softmax(logits) at the label, in float64."""
    labels = torch.as_tensor(labels, device=logits.device)
    return F.cross_entropy(logits.double(), labels, reduction="none")


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Return the fraction of images, 0 to 1, whose largest logit is their label's."""
    labels = torch.as_tensor(labels, device=logits.device)
    return float((logits.argmax(dim=-1) == labels).double().mean())
