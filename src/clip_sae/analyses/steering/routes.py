"""Word probabilities of pushed images: by the later blocks, a closed form, or the limit.

Steering paper Eq. 4. Three routes that agree: (a) the general one, from the cached residual through
the remaining blocks; (b) at the last layer only CLS reaches the output, so that norm and projection
can be written out and no block runs; (c) for s → ∞ the embedding no longer depends on the image.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from clip_sae.analyses.shared.edits import moved
from clip_sae.clip.model import ClipModel


class Steered(NamedTuple):
    """Predictions for steered images.

    `probabilities` [unit, image, word]; `limit_cosine` [unit, image]: cosine of the steered
    embedding and the unit's limit, NaN where a push of zero has none.
    """

    probabilities: Tensor
    limit_cosine: Tensor


class Routes:
    """Steers fixed images at one layer and reads them over one vocabulary.

    Args:
        x: residual stream after block `layer` [image, token, d_model]; edits are added to it.
        text: unit text embeddings [word, d_embed].
        scale: factor of cosines before the softmax.
        sequences_per_batch: steered images (one unit on one image each) in one forward pass.
        closed_form: use route (b) where it exists; False allows a comparison.

    Attributes:
        clean: P of unedited x [image, word].
    """

    def __init__(
        self,
        model: ClipModel,
        layer: int,
        x: Tensor,
        text: Tensor,
        scale: float,
        *,
        sequences_per_batch: int = 128,
        closed_form: bool = True,
    ) -> None:
        self.model, self.layer, self.x = model, layer, x
        self.text, self.scale = text.float().to(x.device), scale
        self.sequences_per_batch = sequences_per_batch
        last = layer == model.architecture.n_layers - 1
        self.has_closed_form = closed_form and last and model.head.cls_only
        parts = x.split(sequences_per_batch)
        embeddings = [model.run_from(part, layer).float() for part in parts]
        self.clean = self.read(F.normalize(torch.cat(embeddings), dim=-1))
        self._cls = _ClosedForm(self) if self.has_closed_form else None

    def read(self, embeddings: Tensor) -> Tensor:
        """Return word probabilities [..., word] of unit embeddings [..., d_embed]."""
        return (self.scale * (embeddings @ self.text.T)).softmax(-1)

    def steer(self, directions: Tensor, pushes: Tensor, sign: float = 1.0) -> Steered:
        """Return P̃ of each unit of a batch on every image, each pushed alone.

        Args:
            directions: [unit, d_model].
            pushes: lengths along them [image, token, unit].
            sign: side of the limit for `limit_cosine`; 0 for none.
        """
        limit = self.model.head.asymptote(directions * (sign or torch.nan))  # [unit d_embed]
        if self._cls is not None:
            return self._cls.steer(directions, pushes[:, 0], limit)
        embeddings = self._run(directions, pushes)
        return Steered(self.read(embeddings), (embeddings @ limit.unsqueeze(-1)).squeeze(-1))

    def asymptote(self, directions: Tensor) -> Steered:
        """Return P for s → ∞, a view [unit, image, word] that is the same for every image."""
        embeddings = self.model.head.asymptote(directions)
        n_images = len(self.x)
        probabilities = self.read(embeddings).unsqueeze(1).expand(-1, n_images, -1)
        return Steered(probabilities, torch.ones_like(probabilities[..., 0]))

    def _run(self, directions: Tensor, pushes: Tensor) -> Tensor:
        """Return unit embeddings [unit, image, d_embed], through the remaining blocks."""
        n_images = min(len(self.x), self.sequences_per_batch)
        n_units = max(1, self.sequences_per_batch // n_images)
        found = directions.new_empty(len(directions), len(self.x), self.text.shape[1])
        for i in range(0, len(self.x), n_images):
            images = slice(i, i + n_images)
            for u in range(0, len(directions), n_units):
                units = slice(u, u + n_units)
                push = pushes[images, :, units].permute(2, 0, 1).unsqueeze(-1)
                # Each row of the batch is one unit on one image: units do not mix.
                steered = moved(self.x[images], push, directions[units, None, None])
                embedding = self.model.run_from(steered.flatten(0, 1), self.layer)
                found[units, images] = embedding.float().unflatten(0, steered.shape[:2])
        return F.normalize(found, dim=-1)


class _ClosedForm:
    """Route (b): the last layer's CLS through norm and projection, written out.

    With a bar for mean-centred vectors, LN(x + c n) = (x̄ + c n̄) ⊙ g / √(var + ε) + b, where var is
    a quadratic in c. Its projection is u A + w B + b′: A of the image alone, B of the direction
    alone, and two weights u, w [unit, image]. So every logit costs a few products, no block and
    no projection per (unit, image).
    """

    def __init__(self, routes: Routes) -> None:
        self.text, self.scale, self.head = routes.text, routes.scale, routes.model.head
        self.centred = _centre(routes.x[:, 0])
        self.embedded = self._project(self.centred)  # A [image d_embed]
        self.words = (self.embedded @ self.text.T.double()).to(self.text.dtype)  # [image word]
        self.bias = self.head.bias.double() @ self.head.projection.double()  # b′ [d_embed]
        self.bias_words = (self.bias @ self.text.T.double()).to(self.text.dtype)  # [word]

    def steer(self, directions: Tensor, pushes: Tensor, limit: Tensor) -> Steered:
        """Return `Routes.steer`, from pushes of CLS [image, unit] and limits [unit, d_embed]."""
        # Tables of units and images in float64: at s = 150 terms in c² nearly cancel.
        push, limit = pushes.T.double(), limit.double()  # [unit image], [unit d_embed]
        centred = _centre(directions)
        quadratic = push.square() * _squares(centred)[:, None]
        square = _squares(self.centred) + 2 * push * (centred @ self.centred.T) + quadratic
        u = (square / centred.shape[-1] + self.head.eps).rsqrt()
        w = push * u
        a, b, bias = self.embedded, self._project(centred), self.bias
        norm = (
            u.square() * _squares(a)
            + w.square() * _squares(b)[:, None]
            + 2 * (u * w * (b @ a.T) + u * (a @ bias) + w * (b @ bias)[:, None])
            + bias @ bias
        ).sqrt()  # of the embedding [unit image]
        along = w * (b * limit).sum(-1, keepdim=True) + (limit @ bias)[:, None]
        cosine = u * (limit @ a.T) + along
        return Steered(self._probabilities(b, u / norm, w / norm, 1 / norm), cosine / norm)

    def _probabilities(self, b: Tensor, u: Tensor, w: Tensor, one: Tensor) -> Tensor:
        dtype = self.text.dtype
        u, w, one = ((self.scale * weight).to(dtype).unsqueeze(-1) for weight in (u, w, one))
        unit_words = (b @ self.text.T.double()).to(dtype).unsqueeze(1)  # [unit 1 word]
        bias_words = self.bias_words.expand_as(unit_words)
        logits = torch.cat([w, one], dim=-1) @ torch.cat([unit_words, bias_words], dim=1)
        logits.addcmul_(u.expand_as(w), self.words)
        return logits.softmax(-1)

    def _project(self, centred: Tensor) -> Tensor:
        """Return centred vectors [..., d_model] in the embedding, unnormed, in float64."""
        return centred * self.head.weight.double() @ self.head.projection.double()


def _centre(vectors: Tensor) -> Tensor:
    vectors = vectors.double()
    return vectors - vectors.mean(-1, keepdim=True)


def _squares(vectors: Tensor) -> Tensor:
    return vectors.square().sum(-1)
