"""OpenAI's sparse_autoencoder: one torch.save file of a state dict with its activation's name.

Read in openai/sparse_autoencoder (2024-06). There, TopK SAEs normalise each token (this project's
layer_norm) and ReLU SAEs do not.
"""

from __future__ import annotations

from pathlib import Path

from clip_sae.sae.exchange.pickles import load_checkpoint
from clip_sae.sae.exchange.source import SourceSae, need, take
from clip_sae.sae.files import SaeFileError
from clip_sae.sae.folding import Arrays

NAMES = ("pre_bias", "encoder.weight", "latent_bias", "decoder.weight")
STATISTICS = (
    "stats_last_nonzero", "latents_activation_frequency", "latents_mean_square",
    "activation", "activation_state_dict",
)  # fmt: skip


def read(source: Path, *, allow_pickle: bool, input_scale: float | None) -> SourceSae:
    """Read one state dict."""
    if not source.is_file():
        raise SaeFileError(f"{source} is not a file; name the .pt file of the state dict.")
    state = load_checkpoint(source, allow_pickle=allow_pickle)
    if (
        isinstance(state, dict) and "decoder.linear.weight" in state
    ):  # a decoder tied to the encoder
        state = {**state, "decoder.weight": state["encoder.weight"].T}
        del state["decoder.linear.weight"]
    found = take(state, NAMES, source, ignored=STATISTICS)
    arrays = Arrays(
        found["encoder.weight"].T.contiguous(),
        found["latent_bias"],
        found["decoder.weight"].T.contiguous(),
        found["pre_bias"],
    )
    word, options = state.get("activation", "ReLU"), state.get("activation_state_dict") or {}
    if word == "ReLU":
        return SourceSae(arrays, "vanilla", "standard", (source,), input_scale=input_scale)
    if word != "TopK" or options.get("postact_fn", "ReLU") != "ReLU":
        raise SaeFileError(
            f"{source}: activation {word!r} {options}; read are ReLU and TopK + ReLU."
        )
    return SourceSae(
        arrays,
        "topk",
        "topk",
        (source,),
        k=int(need(options, "k", source)),
        input_norm="layer_norm",
        input_scale=input_scale,
    )
