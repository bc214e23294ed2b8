"""torch.save files of PyTorch's linear layers: dictionary_learning and OpenAI.

dictionary_learning (Marks, Karvonen, Mueller) was read in 0.1.0: `ae.pt` next to `config.json`,
whose trainer.dict_class names the kind. OpenAI's sparse_autoencoder was read at 2024-06: one state
dict with its activation's name; TopK SAEs normalise each token there (this project's layer_norm)
and ReLU SAEs do not. Linear layers are stored by output: encoder [latent, d_model], decoder
[d_model, latent].
"""

from __future__ import annotations

from pathlib import Path

from clip_sae.sae.exchange.pickles import load_checkpoint
from clip_sae.sae.exchange.source import (
    SourceSae,
    linear_arrays,
    need,
    plain_facts,
    read_object,
    take,
)
from clip_sae.sae.files import SaeFileError

LINEAR = ("encoder.weight", "encoder.bias", "decoder.weight")
DIRECT = ("W_enc", "b_enc", "W_dec", "b_dec")
COUNTERS = ("k", "threshold", "group_sizes")
# dict_class -> its tensors, the architecture, SAELens' word for its training
KINDS = {
    "AutoEncoder": ((*LINEAR, "bias"), "vanilla", "standard"),
    "AutoEncoderNew": ((*LINEAR, "decoder.bias"), "vanilla", "standard"),
    "AutoEncoderTopK": ((*LINEAR, "b_dec", "k"), "topk", "topk"),
    "BatchTopKSAE": ((*LINEAR, "b_dec", "threshold"), "jumprelu", "batchtopk"),
    "MatryoshkaBatchTopKSAE": ((*DIRECT, "threshold"), "jumprelu", "matryoshka_batchtopk"),
    "JumpReluAutoEncoder": ((*DIRECT, "threshold"), "jumprelu", "jumprelu"),
    "GatedAutoEncoder": (
        ("encoder.weight", "decoder.weight", "decoder_bias", "r_mag", "gate_bias", "mag_bias"),
        "jumprelu",
        "gated",
    ),
}
UNCENTRED = ("AutoEncoderNew", "JumpReluAutoEncoder")  # b_dec is not subtracted from their input
FACTS = ("trainer_class", "layer", "lm_name", "submodule_name", "lr", "steps", "k", "l1_penalty")
OPENAI = ("pre_bias", "encoder.weight", "latent_bias", "decoder.weight")
OPENAI_STATISTICS = (
    "stats_last_nonzero", "latents_activation_frequency", "latents_mean_square",
    "activation", "activation_state_dict",
)  # fmt: skip


def read_dictionary_learning(source: Path, *, allow_pickle: bool) -> SourceSae:
    """Read `ae.pt`, or the folder that holds it, with the config.json next to it."""
    path = source if source.is_file() else source / "ae.pt"
    if not path.is_file():
        raise SaeFileError(f"{path} is missing; dictionary_learning keeps an SAE in a file ae.pt.")
    settings = path.parent / "config.json"
    trainer = need(read_object(settings), "trainer", settings)
    kind = need(trainer, "dict_class", settings)
    if kind not in KINDS:
        raise SaeFileError(f"{settings}: dict_class {kind!r}; read are {', '.join(KINDS)}.")
    names, architecture, trained = KINDS[kind]
    found = take(load_checkpoint(path, allow_pickle=allow_pickle), names, path, ignored=COUNTERS)
    arrays = linear_arrays(found)
    notes: tuple[str, ...] = ()
    if arrays.threshold is not None and (arrays.threshold < 0).any():
        notes = (
            "Its threshold was never estimated (it is negative): every positive latent stays.",
        )
    return SourceSae(
        arrays,
        architecture,
        trained,
        (path, settings),
        k=int(found["k"]) if architecture == "topk" else None,
        centred=kind not in UNCENTRED,
        notes=notes,
        facts={"dict_class": kind, **plain_facts(trainer, FACTS)},
    )


def read_openai(source: Path, *, allow_pickle: bool) -> SourceSae:
    """Read one state dict."""
    if not source.is_file():
        raise SaeFileError(f"{source} is not a file; name the .pt file of the state dict.")
    state = load_checkpoint(source, allow_pickle=allow_pickle)
    if isinstance(state, dict) and "decoder.linear.weight" in state:  # tied to the encoder
        state = {**state, "decoder.weight": state["encoder.weight"].T}
        del state["decoder.linear.weight"]
    arrays = linear_arrays(take(state, OPENAI, source, ignored=OPENAI_STATISTICS))
    word, options = state.get("activation", "ReLU"), state.get("activation_state_dict") or {}
    if word == "ReLU":
        return SourceSae(arrays, "vanilla", "standard", (source,))
    if word != "TopK" or options.get("postact_fn", "ReLU") != "ReLU":
        raise SaeFileError(
            f"{source}: activation {word!r} {options}; read are ReLU and TopK + ReLU."
        )
    k = int(need(options, "k", source))
    return SourceSae(arrays, "topk", "topk", (source,), k=k, input_norm="layer_norm")
