"""dictionary_learning (Marks, Karvonen, Mueller): `ae.pt` beside `config.json`.

Read in dictionary_learning 0.1.0: config.json's trainer.dict_class names the kind; linear layers
are stored by output, encoder [latent, d_model] and decoder [d_model, latent].
"""

from __future__ import annotations

from pathlib import Path

import torch

from clip_sae.sae.exchange.pickles import load_checkpoint
from clip_sae.sae.exchange.source import SourceSae, need, plain_facts, read_object, take
from clip_sae.sae.files import SaeFileError
from clip_sae.sae.folding import Arrays, fold_gated

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


def read(source: Path, *, allow_pickle: bool, input_scale: float | None) -> SourceSae:
    """Read `ae.pt`, or the folder that holds it, with the config.json beside it."""
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
    arrays = _arrays(found)
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
        input_scale=input_scale,
        notes=notes,
        facts={"dict_class": kind, **plain_facts(trainer, FACTS)},
    )


def _arrays(found: dict[str, torch.Tensor]) -> Arrays:
    if "W_dec" in found:
        W_enc, W_dec = found["W_enc"], found["W_dec"]
    else:
        W_enc, W_dec = (
            found["encoder.weight"].T.contiguous(),
            found["decoder.weight"].T.contiguous(),
        )
    b_dec = next(
        found[name] for name in ("b_dec", "bias", "decoder.bias", "decoder_bias") if name in found
    )
    if "r_mag" in found:
        gated = fold_gated(W_enc, found["r_mag"], found["gate_bias"], found["mag_bias"])
        return Arrays(gated[0], gated[1], W_dec, b_dec, gated[2])
    b_enc = found["b_enc"] if "b_enc" in found else found["encoder.bias"]
    threshold = found.get("threshold")
    if threshold is not None and threshold.ndim == 0:  # BatchTopK: one number for all latents
        threshold = threshold.expand(len(b_enc)).contiguous()
    return Arrays(W_enc, b_enc, W_dec, b_dec, threshold)
