"""PatchSAE checkpoints (and those of its ancestor, mats_sae_training_for_ViTs).

Read in PatchSAE (2025-10): one torch.save file of {"cfg": a config object or dict, "state_dict"}.
The SAE is a ReLU one without input norm; its gated variant has no forward pass there.
"""

from __future__ import annotations

from pathlib import Path

from clip_sae.sae.exchange.pickles import load_checkpoint, settings_of
from clip_sae.sae.exchange.source import SourceSae, plain_facts, take
from clip_sae.sae.files import SaeFileError
from clip_sae.sae.folding import Arrays

FACTS = (
    "model_name", "module_name", "block_layer", "dataset_path", "class_token", "l1_coefficient",
    "lr", "expansion_factor", "total_training_tokens",
)  # fmt: skip


def read(source: Path, *, allow_pickle: bool, input_scale: float | None) -> SourceSae:
    """Read one checkpoint file."""
    if not source.is_file():
        raise SaeFileError(f"{source} is not a file; name PatchSAE's .pt file itself.")
    content = load_checkpoint(source, allow_pickle=allow_pickle)
    if not isinstance(content, dict) or not {"cfg", "state_dict"} <= set(content):
        found = sorted(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise SaeFileError(f"{source} holds {found}; expected 'cfg' and 'state_dict'.")
    settings = settings_of(content["cfg"], source)
    if settings.get("gated_sae"):
        raise SaeFileError(f"{source}: gated_sae is set; PatchSAE does not define its latents.")
    arrays = Arrays(**take(content["state_dict"], ("W_enc", "b_enc", "W_dec", "b_dec"), source))
    return SourceSae(
        arrays,
        "vanilla",
        "standard",
        (source,),
        input_scale=input_scale,
        facts=plain_facts(settings, FACTS),
    )
