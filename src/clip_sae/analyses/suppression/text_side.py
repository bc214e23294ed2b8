"""Baselines of the literature: edits of text embeddings, or of image embeddings by texts.

No SAE and no training, only prompts: orthogonal projection and calibration (Chuang et al. 2023,
arXiv 2302.00070, §3), RoboShot's rejection and addition (Adila et al. 2023, arXiv 2309.04344, §3).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class SpuriousTexts:
    """Unit embeddings of prompts about the attribute, and pairs that differ in one thing.

    Attributes:
        attribute: [prompt, d_embed], prompts that name either value of the attribute alone.
        pairs: [pair, 2, d_embed], one class with either value of the attribute.
        helpful: [pair, 2, d_embed], differences of the classes; may hold no pair.
    """

    attribute: Tensor
    pairs: Tensor
    helpful: Tensor


def orthogonal_projection(attribute: Tensor) -> Tensor:
    """Return I − A⁺A [d_embed, d_embed], the projection outside the span of A's rows."""
    eye = torch.eye(attribute.shape[1], dtype=torch.float64)
    rows = attribute.double()
    return eye - torch.linalg.pinv(rows) @ rows


def calibration(pairs: Tensor, weight: float) -> Tensor:
    """Return (I + weight · mean_pairs (z − z′)(z − z′)ᵀ)⁻¹ [d_embed, d_embed].

    The closed form of the ridge map P that stays near I and makes P z ≈ P z′ for every pair.
    """
    apart = (pairs[:, 0] - pairs[:, 1]).double()
    eye = torch.eye(apart.shape[1], dtype=torch.float64)
    return torch.linalg.inv(eye + weight * (apart.T @ apart) / len(apart))


def mapped(text: Tensor, matrix: Tensor) -> Tensor:
    """Return class texts [class, d_embed] after a map, of unit length again."""
    return F.normalize(text.double() @ matrix.T, dim=-1).float()


def roboshot(images: Tensor, texts: SpuriousTexts) -> Tensor:
    """Return image embeddings [image, d_embed], of unit length, by RoboShot's two steps.

    The first removes the part along the harmful directions, the second adds the part along the
    helpful ones once more. Directions are differences of pairs, made orthonormal among their kind.
    """
    x = F.normalize(images.double(), dim=-1)
    harmful = _directions(texts.pairs)
    x = F.normalize(x - x @ harmful.T @ harmful, dim=-1)
    if len(texts.helpful):
        helpful = _directions(texts.helpful)
        x = F.normalize(x + x @ helpful.T @ helpful, dim=-1)
    return x.float()


def _directions(pairs: Tensor) -> Tensor:
    """Return an orthonormal basis [direction, d_embed] of the differences of pairs [pair, 2, …]."""
    differences = (pairs[:, 0] - pairs[:, 1]).double()
    _, values, rows = torch.linalg.svd(differences, full_matrices=False)
    return rows[values > 1e-6 * values[0]]


def predictions(images: Tensor, text: Tensor) -> Tensor:
    """Return [image], the class of largest cosine."""
    images, text = F.normalize(images.float(), dim=-1), F.normalize(text.float(), dim=-1)
    return (images @ text.T.to(images.device)).argmax(-1)


def methods(
    images: Tensor, text: Tensor, texts: SpuriousTexts, weights: Sequence[float]
) -> dict[tuple[str, float | None], Tensor]:
    """Return {(method, weight or None): predicted class [image]} for every baseline.

    Methods: none, projection, calibration and projection_calibration (one of each per weight),
    roboshot. `images` [image, d_embed], `text` [class, d_embed].
    """
    outside = orthogonal_projection(texts.attribute)
    found = {("none", None): predictions(images, text)}
    found["projection", None] = predictions(images, mapped(text, outside))
    for weight in weights:
        ridge = calibration(texts.pairs, weight)
        found["calibration", weight] = predictions(images, mapped(text, ridge))
        both = mapped(text, outside @ ridge)
        found["projection_calibration", weight] = predictions(images, both)
    found["roboshot", None] = predictions(roboshot(images, texts), text)
    return found
