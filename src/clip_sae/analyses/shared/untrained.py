"""An SAE with the starting weights of training: the control for the effect of learning."""

from torch import Tensor

from clip_sae.sae import Sae
from clip_sae.sae.module import normalise_tokens, token_statistics
from clip_sae.training.weights import centre, initial_weights


def untrained_sae(sae: Sae, x: Tensor, seed: int) -> Sae:
    """Return an SAE of the same kind and size with the starting weights of training.

    `b_dec` starts at the geometric median of the normed tokens of x [image, token, d_model].
    """
    fresh = Sae(sae.d_model, sae.d_sae, sae.architecture, k=sae.k, input_norm=sae.input_norm)
    tokens = x.reshape(-1, x.shape[-1])
    normed = normalise_tokens(tokens, *token_statistics(tokens, sae.input_norm), sae.input_norm)
    weights = initial_weights(
        sae.d_model, sae.d_sae, centre(normed, "geometric_median").cpu(), seed
    ).arrays()
    for name, value in weights.tensors().items():
        getattr(fresh, name).copy_(value)
    return fresh.to(x.device)
