"""Which images have the attribute, guessed from background prompts alone.

For sets without attribute labels: the training images that look most and least like the attribute
stand for D_A and D_Ā of steering paper Eq. 9.
"""

import numpy as np
from torch import Tensor
from torch.nn import functional as F

SHARE = 0.3  # of the images, on either side


def guess_attribute(
    images: Tensor, present: Tensor, absent: Tensor, share: float = SHARE
) -> np.ndarray:
    """Return [image]: 1 for the `share` that is nearest to the attribute, 0 for the farthest.

    Nearness is the mean cosine to the prompts for the attribute less that to the prompts against
    it. Images in between are −1, unknown.

    Args:
        images: embeddings [image, d_embed].
        present, absent: embeddings [prompt, d_embed] of either value of the attribute.
    """
    if not 0 < share <= 0.5:
        raise ValueError(f"share is {share}; both sides together can hold at most all: (0, 0.5].")
    images = F.normalize(images.float(), dim=-1)
    sides = [(images @ F.normalize(t.float(), dim=-1).T).mean(-1) for t in (present, absent)]
    score = (sides[0] - sides[1]).cpu().numpy()
    n = max(1, round(share * len(score)))
    order = np.argsort(score, kind="stable")
    guessed = np.full(len(score), -1, dtype=np.int64)
    guessed[order[:n]], guessed[order[-n:]] = 0, 1
    return guessed


def guess_quality(guessed: np.ndarray, attribute: np.ndarray) -> float:
    """Return the share of guessed images, 0…1, whose attribute is what was guessed."""
    known = guessed >= 0
    return float((guessed[known] == attribute[known]).mean())
