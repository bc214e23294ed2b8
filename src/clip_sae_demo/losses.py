"""The training loss of the demo CLIP: cross-entropies of images against sets of captions."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from clip_sae.clip.tokenizer import WordTokenizer
from clip_sae_demo.captions import TextContrast

CAPTION_WEIGHT = 0.5  # image to caption; half as much again for caption to image


class TextBatch:
    """Collect the distinct texts of a step, so that each is encoded once."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}

    def add(self, texts: list[str]) -> Tensor:
        """Return the rows of these texts in the batch, int64 [text]."""
        return torch.tensor([self.rows.setdefault(text, len(self.rows)) for text in texts])

    def tokens(self, tokenizer: WordTokenizer) -> Tensor:
        """Return token ids [text, token], cut to the longest text.

        The mask is causal, so the padding behind EOT has no effect.
        """
        return trim(tokenizer(list(self.rows)))


def trim(tokens: Tensor) -> Tensor:
    """Drop the columns that are padding (id 0) in all texts."""
    return tokens[:, : int((tokens != 0).sum(dim=1).max())]


def encode_texts(model: torch.nn.Module, tokens: Tensor) -> Tensor:
    """Return unit-norm embeddings [text, embedding] of trimmed tokens.

    The same steps as open_clip's `CLIP.encode_text`, which requires the full context length.
    """
    length = tokens.shape[1]
    x = model.token_embedding(tokens) + model.positional_embedding[:length]
    x = model.transformer(x, attn_mask=model.attn_mask[:length, :length])
    x = model.ln_final(x)  # [text, token, width]
    at_eot = x[torch.arange(len(x)), tokens.argmax(dim=1)]
    return F.normalize(at_eot @ model.text_projection, dim=-1)


def contrast_loss(logits: Tensor, contrasts: list[TextContrast], rows: list[Tensor]) -> Tensor:
    """Return the weighted sum of the cross-entropies; `logits` is [image, text]."""
    total = logits.new_zeros(())
    for contrast, row in zip(contrasts, rows, strict=True):
        answers = torch.from_numpy(contrast.answers)
        if (answers >= 0).any():
            loss = F.cross_entropy(logits[:, row], answers, ignore_index=-1)
            total = total + contrast.weight * loss
    return total


def caption_loss(logits: Tensor, rows: Tensor) -> Tensor:
    """Return CLIP's loss over the batch's distinct captions, both ways; `rows` is [image].

    Images that share a caption share its target evenly.
    """
    distinct, own = torch.unique(rows, return_inverse=True)
    logits = logits[:, distinct]  # [image, caption]
    match = F.one_hot(own, len(distinct)).to(logits.dtype)
    to_caption = F.cross_entropy(logits, own)
    to_image = F.cross_entropy(logits.T, match.T / match.sum(dim=0)[:, None])
    return CAPTION_WEIGHT * (to_caption + 0.5 * to_image)


def jitter_images(rng: np.random.Generator, images: np.ndarray, max_shift: int = 2) -> np.ndarray:
    """Shift by up to `max_shift` px (edges repeated) and scale the brightness; uint8 in and out."""
    n, size = images.shape[:2]
    padded = np.pad(images, ((0, 0), (max_shift,) * 2, (max_shift,) * 2, (0, 0)), mode="edge")
    shifted = np.empty_like(images)
    for row, (dy, dx) in enumerate(rng.integers(0, 2 * max_shift + 1, size=(n, 2))):
        shifted[row] = padded[row, dy : dy + size, dx : dx + size]
    factor = rng.uniform(0.85, 1.15, size=(n, 1, 1, 1)).astype(np.float32)
    return np.clip(shifted * factor, 0, 255).astype(np.uint8)
