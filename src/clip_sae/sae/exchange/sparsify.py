"""sparsify (EleutherAI): a folder per hook point with cfg.json and sae.safetensors.

Read in sparsify 1.3.3: TopK after ReLU; the encoder is stored by rows, [latent, d_model].
"""

from __future__ import annotations

from pathlib import Path

from clip_sae.sae.exchange.saelens import load_safetensors
from clip_sae.sae.exchange.source import SourceSae, need, plain_facts, read_object, take
from clip_sae.sae.files import CONFIG_NAME, SaeFileError
from clip_sae.sae.folding import Arrays

WEIGHTS_NAME = "sae.safetensors"
FACTS = ("expansion_factor", "normalize_decoder", "multi_topk")


def read(source: Path, *, allow_pickle: bool, input_scale: float | None) -> SourceSae:
    """Read the folder of one hook point."""
    folder = source if source.is_dir() else source.parent
    path, weights = folder / CONFIG_NAME, folder / WEIGHTS_NAME
    config = read_object(path)
    if config.get("transcode") or config.get("skip_connection"):
        raise SaeFileError(f"{path} is a transcoder: it maps one place to another, not to itself.")
    activation = config.get("activation", "topk")
    if activation != "topk" or config.get("signed"):
        raise SaeFileError(f"{path}: activation {activation!r}; read is topk, unsigned.")
    names = ("encoder.weight", "encoder.bias", "W_dec", "b_dec")
    found = take(load_safetensors(weights), names, weights)
    return SourceSae(
        Arrays(
            found["encoder.weight"].T.contiguous(),
            found["encoder.bias"],
            found["W_dec"],
            found["b_dec"],
        ),
        "topk",
        "topk",
        (path, weights),
        k=int(need(config, "k", path)),
        input_scale=input_scale,
        facts={**plain_facts(config, FACTS), "hook_point": folder.name},
    )
