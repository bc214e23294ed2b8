"""Train a Defence-Prefix on the training pairs, as they are or with the chosen latents at zero."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from torch import Tensor

from clip_sae.analyses.shared.edited_embeddings import LayerSet, embeddings_without
from clip_sae.analyses.shared.edits import reaches_output
from clip_sae.analyses.shared.models import class_names, load_model, prompts
from clip_sae.analyses.shared.pairs import pairs_of
from clip_sae.analyses.shared.responses import chosen_of_kind, units_of
from clip_sae.analyses.typographic import defence_prefix
from clip_sae.clip.model import ClipModel
from clip_sae.files import write_output
from clip_sae.planning.inputs import ClipFiles, SaeFiles


def train_prefix(
    job,
    *,
    clip: ClipFiles,
    index: Path,
    store: Path,
    chosen: Mapping[str, Path],
    saes: Sequence[SaeFiles],
    layer: int,
    settings: Mapping,
    templates: str | Sequence[str],
) -> None:
    """Write prefix.safetensors, and losses.csv with columns epoch, defence and identity.

    Args:
        index, store: of the attacked copy's training split.
        chosen: tables of the chosen latents, which are set to 0; {} for images as they are.
        settings: fields of `PrefixSettings`.
    """
    model = load_model(job, clip)
    pairs = pairs_of(index, store, "train", reaches_output(model, layer))
    sides = {"clean": pairs.clean, "attacked": pairs.attacked}
    trained = defence_prefix.train_prefix(
        model,
        *_embeddings(model, sides, layer, chosen, saes).values(),
        pairs.label,
        class_names(index),
        prompts(templates),
        defence_prefix.PrefixSettings(**settings),
        log=job.log.info,
    )
    path = job.folder / "prefix.safetensors"
    defence_prefix.save_prefix(path, trained.vector, {"model": clip.name})
    losses = pd.DataFrame(trained.losses, columns=["defence", "identity"])
    losses.insert(0, "epoch", range(1, len(losses) + 1))
    write_output(job.folder / "losses.csv", losses)
    job.facts["pairs"] = len(pairs.label)


def _embeddings(
    model: ClipModel,
    sides: Mapping[str, Tensor],
    layer: int,
    chosen: Mapping[str, Path],
    saes: Sequence[SaeFiles],
) -> dict[str, Tensor]:
    """Return {side: unit embeddings [image, d_embed]}, with the chosen latents at 0 if any."""
    sets = []
    if chosen:
        label, members = chosen_of_kind(chosen, "latents")
        units, _ = units_of(label, saes, model)
        sets = [LayerSet(layer, units, members)]
    return {side: embeddings_without(model, layer, x, sets).cpu() for side, x in sides.items()}
