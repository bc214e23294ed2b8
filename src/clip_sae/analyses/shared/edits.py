"""Edits of cached activations: replace a hook's tokens, steer and ablate SAE latents and neurons.

§5, Eq. 4 (steering at strength s), Eq. 9 (zero-ablation) and Tables 3 and 4 (reconstruction in
place of the activation). Every edit starts from `resid_post` of its layer; blocks before it never
run again. Functions of `x` return a new tensor and leave their input as it was.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from clip_sae.clip.model import HOOKS, ClipModel

TOKENS = ("all", "cls", "patch")
ERRORS = ("keep", "drop")


class SaeLike(Protocol):
    """What an intervention needs of an SAE; `W_dec` [latent, d_model] has unit-norm rows."""

    W_dec: Tensor

    def encode(self, x: Tensor): ...
    def decode(self, latents: Tensor, mean: Tensor, std: Tensor) -> Tensor: ...
    def token_scale(self, x: Tensor) -> Tensor: ...


def token_mask(n_tokens: int, tokens: str = "all") -> Tensor:
    """Return [token], True where an edit acts: "all", "cls" (token 0) or "patch" (the others)."""
    if tokens not in TOKENS:
        raise ValueError(f"tokens {tokens!r} do not exist; write {', '.join(TOKENS)}.")
    is_cls = torch.arange(n_tokens) == 0
    return {"all": torch.ones_like(is_cls), "cls": is_cls, "patch": ~is_cls}[tokens]


def replace(
    model: ClipModel,
    resid_post: Tensor,
    layer: int,
    hook: str,
    new: Tensor,
    old: Tensor,
    mask: Tensor,
) -> Tensor:
    """Return the raw image embedding [image, d_embed] with `new` in place of `old` at a hook.

    Args:
        resid_post: residual stream of the clean pass after block `layer` [image, token, d_model].
        hook: "resid_post" or "mlp_out" of that layer.
        new: the activation put in, as `old` (or 0 for zero-ablation of the hook).
        old: the hook's activation in the clean pass; for "resid_post" the same as `resid_post`.
        mask: tokens that are replaced, broadcastable to [image, token].
    """
    if hook not in HOOKS:
        raise ValueError(f"hook {hook!r} does not exist; hooks: {', '.join(HOOKS)}.")
    mask = mask.to(resid_post.device).unsqueeze(-1)  # [token 1], broadcast over d_model
    new = torch.as_tensor(new, device=resid_post.device, dtype=resid_post.dtype)
    if hook == "resid_post":
        return model.run_from(torch.where(mask, new, old), layer)
    # The MLP's output is added to the stream, so its change is the stream's change.
    return model.run_from(torch.where(mask, resid_post + (new - old), resid_post), layer)


def steer(
    x: Tensor,
    sae: SaeLike,
    latents: Sequence[int] | Tensor,
    values: float | Tensor,
    *,
    mask: Tensor | None = None,
    error: str = "keep",
) -> Tensor:
    """Set latents to values: x′ = x + σ(x)·Σ_j (s_j − f_j(x))·n_j (Eq. 4), as x.

    σ(x) is the per-token scale of the SAE's input norm, 1 without one. The SAE's error and biases
    stay in x′ (`error="keep"`); `error="drop"` is the variant x′ = decode(f with f_j := s_j).

    Args:
        x: activations [image, token, d_model] (or [token, d_model]).
        latents: latent_idx of each of the j, all different.
        values: s, one number or broadcastable to [image, token, latent].
        mask: tokens that are edited, broadcastable to x without its last axis; None is all.
    """
    if error not in ERRORS:
        raise ValueError(f"error {error!r} does not exist; write {', '.join(ERRORS)}.")
    latent_idx = torch.as_tensor(latents, dtype=torch.long, device=x.device)
    encoded = sae.encode(x)
    before = encoded.latents[..., latent_idx]  # [image token latent]
    wanted = torch.as_tensor(values, dtype=x.dtype, device=x.device).expand(before.shape)
    if error == "keep":
        steered = x + sae.token_scale(x) * ((wanted - before) @ sae.W_dec[latent_idx])
    else:
        edited = encoded.latents.index_copy(-1, latent_idx, wanted)
        steered = sae.decode(edited, encoded.mean, encoded.std)
    return _masked(x, steered, mask)


def ablate(
    x: Tensor,
    sae: SaeLike,
    latents: Sequence[int] | Tensor,
    *,
    mask: Tensor | None = None,
    error: str = "keep",
) -> Tensor:
    """Set latents to zero, f_j := 0 (Eq. 9); see `steer`."""
    return steer(x, sae, latents, 0.0, mask=mask, error=error)


def steer_neurons(
    x: Tensor,
    neurons: Sequence[int] | Tensor,
    values: float | Tensor,
    *,
    mask: Tensor | None = None,
) -> Tensor:
    """Set coordinates of x: x_j := s_j, the baseline of §6; `values` as in `steer`."""
    neuron_idx = torch.as_tensor(neurons, dtype=torch.long, device=x.device)
    wanted = torch.as_tensor(values, dtype=x.dtype, device=x.device)
    steered = x.index_copy(-1, neuron_idx, wanted.expand(x[..., neuron_idx].shape))
    return _masked(x, steered, mask)


def _masked(x: Tensor, edited: Tensor, mask: Tensor | None) -> Tensor:
    return edited if mask is None else torch.where(mask.to(x.device).unsqueeze(-1), edited, x)
