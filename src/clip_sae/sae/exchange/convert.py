"""From a `SourceSae` to one of our SAE folders: fold it to our conventions and say so.

Steering paper Eq. 4 moves tokens along unit vectors n_j, so rows of W_dec get unit norm wherever
that leaves the reconstruction as it was. Every step is an identity in exact arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from clip_sae.planning.specs import file_sha256
from clip_sae.sae.exchange.formats import FORMATS, recognise
from clip_sae.sae.exchange.source import SourceSae, check_shapes
from clip_sae.sae.files import CONFIG_NAME, SaeFileError
from clip_sae.sae.folding import (
    Arrays,
    fold_decoder_norm,
    fold_input_scale,
    fold_uncentred_input,
    scale_latents,
)
from clip_sae.sae.module import Sae

EQUAL_NORMS = 1e-3  # relative spread of row norms that rounding to half precision explains


@dataclass(frozen=True)
class ConvertedSae:
    """The SAE, the name of its format, and sentences on folds and on caveats."""

    sae: Sae
    format: str
    notes: tuple[str, ...]


def convert(
    source: str | Path,
    destination: str | Path,
    *,
    format: str | None = None,
    input_norm: str | None = None,
    input_scale: float | None = None,
    allow_pickle: bool = False,
    keep_norms: bool = False,
) -> ConvertedSae:
    """Write the SAE at `source` as one of our SAE folders and return it.

    Args:
        source: a checkpoint file or its folder.
        destination: the folder to write; it must not hold an SAE yet.
        format: a name in `FORMATS`; recognised by its files when None.
        input_norm: norm of each token before the encoder, where the files do not say or are wrong.
        input_scale: constant that tokens are multiplied by before the encoder.
        allow_pickle: also read files with Python objects other than tensors, as inert records.
        keep_norms: keep free rows of W_dec where TopK forbids to fold them.

    Raises:
        FileNotFoundError, SaeFileError: what was requested, what was found, what to do next.
    """
    source, destination = Path(source), Path(destination)
    if (destination / CONFIG_NAME).exists():
        raise SaeFileError(
            f"{destination} holds an SAE already; choose another folder or delete it."
        )
    name = format or recognise(source)
    if name not in FORMATS:
        raise SaeFileError(f"unknown format {name!r}; known: {', '.join(FORMATS)}.")
    if not source.exists():
        raise FileNotFoundError(f"{source} does not exist; give a checkpoint file or its folder.")
    found = FORMATS[name].read(source, allow_pickle=allow_pickle)
    if input_scale is not None:
        found = replace(found, input_scale=input_scale)
    elif found.missing_scale:
        raise SaeFileError(found.missing_scale)
    check_shapes(found.arrays, found.files[0])
    norm = input_norm or found.input_norm
    if norm is None:
        raise SaeFileError(
            f"{source} does not say how tokens are normalised before the encoder. Add "
            f"--input-norm none, layer_norm or constant_norm_rescale."
        )
    arrays, notes = _fold(found, source, keep_norms)
    sae = _module(arrays, found, norm)
    metadata = {
        "converted_from": name,
        "source_files": {path.name: file_sha256(path) for path in found.files},
        "source_facts": found.facts,
        "notes": list(notes),
    }
    sae.save(destination, metadata)
    return ConvertedSae(sae, name, notes)


def _fold(found: SourceSae, source: Path, keep_norms: bool) -> tuple[Arrays, tuple[str, ...]]:
    arrays, notes = found.arrays, list(found.notes)
    if arrays.threshold is not None:  # below 0 a threshold does nothing that ReLU does not do
        arrays = replace(arrays, threshold=arrays.threshold.clamp_min(0))
    norms = arrays.W_dec.norm(dim=1)  # before any scale: TopK's choice may depend on them
    if not found.centred:
        arrays = fold_uncentred_input(arrays)
        notes.append("b_dec was not subtracted before the encoder; b_enc now makes up for it.")
    if found.input_scale is not None:
        arrays = fold_input_scale(arrays, found.input_scale)
        notes.append(f"The input scale {found.input_scale:g} was folded into the weights.")
    low, high = norms.min().item(), norms.max().item()
    unit = max(abs(low - 1), abs(high - 1)) <= EQUAL_NORMS and found.input_scale is None
    if found.architecture != "topk" or found.rescaled_selection:
        arrays = fold_decoder_norm(arrays)
        if not unit:
            notes.append(f"Norms of W_dec's rows ({low:.4g} to {high:.4g}) were folded away.")
    elif high - low <= EQUAL_NORMS * high:
        # One factor for all latents cannot change which k are the largest.
        if not unit:
            arrays = scale_latents(arrays, arrays.W_dec.norm(dim=1).mean())
            notes.append(f"The common norm of W_dec's rows ({high:.4g}) was folded away.")
    elif keep_norms:
        notes.append(
            f"Rows of W_dec keep their norms ({low:.4g} to {high:.4g}): a latent's strength is in "
            f"units of its row's norm, for steering too."
        )
    else:
        raise SaeFileError(
            f"{source}: rows of W_dec have norms from {low:.4g} to {high:.4g}, and this TopK SAE "
            f"chooses latents without regard to them, so unit rows would choose others. Add "
            f"--keep-norms to keep the rows as they are: outputs stay exact, and the strength of a "
            f"latent is then in units of its row's norm."
        )
    if silent := int((norms == 0).sum()):
        notes.append(f"{silent} latents have a row of zeros in W_dec and reconstruct nothing.")
    return arrays.to(torch.float32), tuple(notes)


def _module(arrays: Arrays, found: SourceSae, input_norm: str) -> Sae:
    d_sae, d_model = arrays.W_dec.shape
    sae = Sae(d_model, d_sae, found.architecture, k=found.k, input_norm=input_norm)
    sae.load_state_dict(arrays.tensors())
    sae.training_architecture = found.training_architecture
    return sae
