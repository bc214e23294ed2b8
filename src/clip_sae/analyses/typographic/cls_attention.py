"""The attention of CLS, head by head: its weights, and the network without some heads.

Serves the head-ablation baseline of Table 2 (after Dyslexify, Hufe et al. 2025): silencing a
head takes its contribution out of CLS and leaves that to patches.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from clip_sae.clip.model import ClipModel

Head = tuple[int, int]  # (layer, head)


def heads_of(model: ClipModel) -> list[Head]:
    """Return every (layer, head) of the image tower, in order."""
    return [
        (layer, head)
        for layer, attention in enumerate(_attentions(model))
        for head in range(attention.num_heads)
    ]


@torch.inference_mode()
def cls_attention(model: ClipModel, pixels: Tensor) -> Tensor:
    """Return CLS's attention to every token, [image, layer, head, token]; rows sum to 1."""
    rows: dict[int, Tensor] = {}

    def look(layer: int, attention: nn.MultiheadAttention, query: Tensor, key: Tensor) -> None:
        rows[layer] = _weights(attention, query, key)

    with _watched(model, range(model.architecture.n_layers), look):
        model.embed_images(pixels)
    return torch.stack([rows[layer] for layer in sorted(rows)], dim=1)


@contextmanager
def silenced(model: ClipModel, heads: Collection[Head]) -> Iterator[None]:
    """While open, the given heads write nothing into CLS; with none, the model is untouched."""
    known = set(heads_of(model))
    unknown = sorted(set(heads) - known)
    if unknown:
        raise ValueError(
            f"head {unknown[0]} does not exist; (layer, head) go up to {max(known)} in "
            f"{model.source.model!r}."
        )
    by_layer: dict[int, list[int]] = {}
    for layer, head in sorted(heads):
        by_layer.setdefault(layer, []).append(head)

    def subtract(layer: int, attention: nn.MultiheadAttention, query: Tensor, key: Tensor):
        return _written_to_cls(attention, query, key, by_layer[layer])

    with _watched(model, by_layer, subtract):
        yield


@contextmanager
def _watched(model: ClipModel, layers: Collection[int], act) -> Iterator[None]:
    """While open, call `act(layer, attention, query, key)` and subtract its result from CLS."""
    attentions = _attentions(model)

    def hook_of(layer: int):
        def hook(attention: nn.MultiheadAttention, inputs: tuple, output: tuple):
            query, key = inputs[0], inputs[1]
            flip = not attention.batch_first  # [token, image, d_model]
            if flip:
                query, key = query.transpose(0, 1), key.transpose(0, 1)
            taken = act(layer, attention, query, key)
            if taken is None:
                return None
            mixed = output[0].clone()
            row = mixed[0] if flip else mixed[:, 0]
            row -= taken.to(row.dtype)
            return (mixed, *output[1:])

        return hook

    handles = [attentions[layer].register_forward_hook(hook_of(layer)) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _attentions(model: ClipModel) -> Sequence[nn.MultiheadAttention]:
    found = [getattr(block, "attn", None) for block in model.visual.transformer.resblocks]
    for attention in found:
        plain = (
            isinstance(attention, nn.MultiheadAttention) and attention.in_proj_weight is not None
        )
        if not plain or attention.bias_k is not None or attention.add_zero_attn:
            raise ValueError(
                f"the blocks of {model.source.model!r} do not hold torch's plain "
                "MultiheadAttention, so their heads cannot be separated. Leave the head baseline "
                "out of the config."
            )
    return found


def _weights(attention: nn.MultiheadAttention, query: Tensor, key: Tensor) -> Tensor:
    """Return CLS's softmax [image, head, token] of query and key [image, token, d_model]."""
    query, key = query.float(), key.float()
    w_q, w_k, _ = attention.in_proj_weight.float().chunk(3)
    b_q, b_k, _ = _biases(attention)
    q = _per_head(attention, query[:, :1] @ w_q.T + b_q)  # [image head 1 width]
    k = _per_head(attention, key @ w_k.T + b_k)  # [image head token width]
    scores = (q @ k.transpose(-1, -2)).squeeze(-2) / attention.head_dim**0.5
    return scores.softmax(-1)


def _written_to_cls(
    attention: nn.MultiheadAttention, query: Tensor, key: Tensor, heads: Sequence[int]
) -> Tensor:
    """Return the sum that heads add to CLS, [image, d_model], without the output bias."""
    weights = _weights(attention, query, key)[:, heads]  # [image chosen token]
    w_v = attention.in_proj_weight.float().chunk(3)[2]
    v = _per_head(attention, key.float() @ w_v.T + _biases(attention)[2])[:, heads]
    mixed = (weights.unsqueeze(-2) @ v).squeeze(-2)  # [image chosen width]
    width = attention.head_dim
    w_out = attention.out_proj.weight.float().unflatten(1, (attention.num_heads, width))
    return torch.einsum("ihw,dhw->id", mixed, w_out[:, heads])


def _per_head(attention: nn.MultiheadAttention, x: Tensor) -> Tensor:
    """Return [image, head, token, width] of [image, token, d_model]."""
    return x.unflatten(-1, (attention.num_heads, attention.head_dim)).transpose(1, 2)


def _biases(attention: nn.MultiheadAttention) -> Sequence[Tensor | float]:
    bias = attention.in_proj_bias
    return (0.0, 0.0, 0.0) if bias is None else bias.float().chunk(3)
