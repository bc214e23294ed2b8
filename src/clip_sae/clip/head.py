"""The end of an image tower: last block, final norm and projection to the embedding.

Steering paper §5 at full size: steering every latent of every layer is affordable because the last
block computes CLS alone, and because the norm and projection after it have a closed form.
"""

from dataclasses import dataclass

import torch
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor, nn


def reads_cls(visual: nn.Module) -> bool:
    """Return True if the embedding depends on CLS alone after the last block."""
    return visual.attn_pool is None and visual.pool_type == "tok"


def can_run_cls_only(visual: nn.Module, block: nn.Module) -> bool:
    """Return True if `cls_of_block` can replace `block`: an ordinary last block of such a tower.

    A hook on the block reads or changes all tokens, so the whole block must run.
    """
    ordinary = type(block) is ResidualAttentionBlock and not hasattr(block, "ln_1_kv")
    hooked = block._forward_hooks or block._forward_pre_hooks
    return reads_cls(visual) and ordinary and not hooked


def cls_of_block(block: nn.Module, x: Tensor, batch_first: bool) -> Tensor:
    """Return the CLS row of `block(x)`: its queries and its MLP see CLS, its keys every token.

    x is [image, token, d_model], or [token, image, d_model] without `batch_first`; the result has
    one token on the same axis.
    """
    row = (slice(None), slice(1)) if batch_first else slice(1)
    normed = block.ln_1(x)
    cls = x[row] + block.ls_1(block.attention(q_x=normed[row], k_x=normed, v_x=normed))
    return cls + block.ls_2(block.mlp(block.ln_2(cls)))


@dataclass(frozen=True)
class Head:
    """The final LayerNorm (`weight`, `bias` [d_model], `eps`) and `projection` [d_model, d_embed].

    `cls_only`: the embedding is the projected norm of CLS; otherwise of several tokens.
    """

    weight: Tensor
    bias: Tensor
    eps: float
    projection: Tensor
    cls_only: bool

    def asymptote(self, directions: Tensor) -> Tensor:
        """Return [unit, d_embed] of unit length: the limit of ever stronger pushes per direction.

        The residual's direction tends to n_j at every token, and each later block adds a bounded
        vector to it. The norm of a long vector no longer sees `eps`, hence (n − mean) / std.
        """
        centred = directions - directions.mean(-1, keepdim=True)
        # The norm removes a direction with equal coordinates: a push along it changes nothing and
        # has no limit. The bias is returned for it, so that nothing is divided by zero.
        scale = centred.square().mean(-1, keepdim=True).sqrt().clamp_min(1e-12)
        embedding = (centred / scale * self.weight + self.bias) @ self.projection
        return nn.functional.normalize(embedding, dim=-1)


def head_of(visual: nn.Module) -> Head:
    """Return the head of a tower; raises ValueError for one that ends in attention pooling."""
    norm = visual.ln_post
    if visual.attn_pool is not None or not isinstance(norm, nn.LayerNorm):
        raise ValueError(
            "this tower ends in attention pooling or another norm than LayerNorm, for which no "
            "closed form is implemented. Choose a CLIP whose tower pools CLS or averages patches."
        )
    width = norm.weight.shape[0]
    eye = torch.eye(width, device=norm.weight.device)
    projection = eye if visual.proj is None else visual.proj.float()
    return Head(norm.weight, norm.bias, norm.eps, projection, reads_cls(visual))
