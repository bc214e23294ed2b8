"""The one intervention: x′ = base + σ(x)·Σ_j (s_j − f_j(x))·n_j, at the tokens of a mask.

Steering paper Eq. 4 (latent j set to s_j) and Eq. 9 (s_j = 0), PatchSAE §4.1 and §5. The base is x,
so that the SAE's error stays, or the reconstruction of x, which drops it: decoding is linear, so
decode(f with f_j := s_j) is the reconstruction moved by the same sum.

Every analysis edits with these few functions: `EncodedTokens` holds f, σ and the base of a batch,
`EncodedTokens.move` gives the sum over j (sets and their variants differ in nothing else), `moved`
adds it and `at_tokens` limits it to some tokens. Functions return new tensors and leave their
input unchanged; blocks before the edited layer never run again.
"""

from copy import copy

import torch
from torch import Tensor

from clip_sae.clip.head import reads_cls
from clip_sae.clip.model import HOOKS, ClipModel
from clip_sae.sae import Sae

TOKENS = ("all", "cls", "patch")
ERRORS = ("keep", "drop")


def moved(base: Tensor, scale: Tensor, move: Tensor) -> Tensor:
    """Return x′ = base + scale·move [..., d_model], the last step of every edit.

    Args:
        base: what is moved [..., d_model]: x, or its reconstruction.
        scale: σ(x) [..., 1], or a length along `move` that already holds σ(x).
        move: the sum over j in units of `scale`, broadcastable to `base`.
    """
    return base + scale * move


def at_tokens(edited: Tensor, x: Tensor, mask: Tensor) -> Tensor:
    """Return `edited` at the tokens of a mask and x elsewhere [..., token, d_model].

    Args:
        mask: bool, broadcastable to x without its last axis; see `token_mask`.
    """
    return torch.where(mask.to(x.device).unsqueeze(-1), edited, x)


class EncodedTokens:
    """Tokens and their latents, encoded once for all edits of them.

    Attributes:
        x: tokens [..., d_model].
        latents: f(x) [..., latent].
        scale: σ(x) [..., 1]: moving f_j by 1 moves a token by σ(x)·n_j.
    """

    def __init__(self, sae: Sae, x: Tensor) -> None:
        code = sae.encode(x)
        self.sae, self.x = sae, x
        self.latents, self.scale, self._mean = code.latents, code.std, code.mean

    def base(self, error: str = "keep") -> Tensor:
        """Return what edits move [..., d_model]: x ("keep") or its reconstruction ("drop")."""
        check_error(error)
        if error == "keep":
            return self.x
        return self.sae.decode(self.latents, self._mean, self.scale)

    def of_images(self, images: Tensor) -> "EncodedTokens":
        """Return the tokens of some images [image] of a batch, without encoding them again."""
        found = copy(self)
        found.x, found.latents = self.x[images], self.latents[images]
        found.scale, found._mean = self.scale[images], self._mean[images]
        return found

    def move(self, units: Tensor | slice, values: Tensor | float = 0.0) -> Tensor:
        """Return Σ_j (s_j − f_j(x))·n_j [..., d_model] over chosen latents, without σ(x).

        Args:
            units: latent indices [j], all different, or slice(None) for every latent.
            values: s, broadcastable to [..., j].
        """
        return (values - self.latents[..., units]) @ self.sae.W_dec[units]


def check_error(error: str) -> None:
    """Raise ValueError unless `error` is "keep" or "drop"."""
    if error not in ERRORS:
        raise ValueError(f"error {error!r} does not exist; write {', '.join(ERRORS)}.")


def token_mask(n_tokens: int, tokens: str = "all") -> Tensor:
    """Return [token], True where an edit acts: "all", "cls" (token 0) or "patch" (the others)."""
    if tokens not in TOKENS:
        raise ValueError(f"tokens {tokens!r} do not exist; write {', '.join(TOKENS)}.")
    is_cls = torch.arange(n_tokens) == 0
    return {"all": torch.ones_like(is_cls), "cls": is_cls, "patch": ~is_cls}[tokens]


def reaches_output(model: ClipModel, layer: int) -> str:
    """Return the tokens after block `layer` that reach the embedding: "all", or "cls" at the end.

    After the last block of a tower that reads CLS, edits of patches change nothing.
    """
    last = layer == model.architecture.n_layers - 1
    return "cls" if last and reads_cls(model.visual) else "all"


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

    Steering paper Tables 3 and 4: the reconstruction, or zero, in place of the activation.

    Args:
        resid_post: residual stream of the clean pass after block `layer` [image, token, d_model].
        hook: "resid_post" or "mlp_out" of that layer.
        new: the activation put in, shaped like `old`; zeros ablate the hook.
        old: the hook's activation in the clean pass; for "resid_post" the same as `resid_post`.
        mask: tokens that are replaced, broadcastable to [image, token].
    """
    if hook not in HOOKS:
        raise ValueError(f"hook {hook!r} does not exist; hooks: {', '.join(HOOKS)}.")
    # The MLP's output is added to the stream, so its change is the stream's change.
    edited = new if hook == "resid_post" else resid_post + (new - old)
    return model.run_from(at_tokens(edited, resid_post, mask), layer)
