"""Every defence on one benchmark, or on a set without words for its clean cost."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from torch import Tensor

from clip_sae.analyses.shared.edited_embeddings import LayerSet, embeddings_without
from clip_sae.analyses.shared.edits import reaches_output
from clip_sae.analyses.shared.models import class_names, load_model, prompts
from clip_sae.analyses.shared.pairs import class_indices, read_rows
from clip_sae.analyses.shared.responses import (
    Responses,
    chosen_of_kind,
    unit_file,
    units_of,
)
from clip_sae.analyses.typographic.defence_prefix import load_prefix, prefixed_class_embeddings
from clip_sae.analyses.typographic.defences import NONE, defence_rows, table2_defences
from clip_sae.analyses.typographic.measure_heads import embeddings_without_heads, pixel_batches
from clip_sae.clip.model import ClipModel
from clip_sae.clip.zeroshot import class_embeddings
from clip_sae.datasets.manifest import read_classes, read_manifest
from clip_sae.planning.inputs import ClipFiles, ImageFiles, SaeFiles
from clip_sae.store import ActivationStore

Side = dict[str, tuple[Tensor, int]]  # {image side: (embeddings [image, d_embed], units off)}


def evaluate_typographic(
    job,
    *,
    clip: ClipFiles,
    images: ImageFiles,
    store: Path,
    chosen: Mapping[str, Path],
    sweeps: Mapping[str, Path],
    saes: Sequence[SaeFiles],
    prefixes: Mapping[str, Path],
    heads: Path | None,
    layer: int,
    split: str,
    template: str | Sequence[str],
    protocols: Sequence[str],
    random_seeds: int,
    resamples: int,
    seed: int,
) -> pd.DataFrame:
    """Return a row per protocol, subset of images and defence.

    Args:
        store: residuals of the set's split.
        chosen: {"choice", "units"}; sweeps: {label of units: folder of its sweep}.
        prefixes: {name: folder}; heads: the ranked heads, None without that baseline.
        random_seeds: number of random sets of latents.

    Columns: dataset, split, those of `defence_rows`, n_units (units or heads off), n_classes.
    """
    model = load_model(job, clip)
    manifest = read_manifest(images.index, split)
    manifest = manifest[manifest["status"] == "ok"]
    x = read_rows(ActivationStore(store), manifest.index.to_numpy(), reaches_output(model, layer))
    sides: Side = {NONE: (embeddings_without(model, layer, x).cpu(), 0)}
    sides |= _ablated(model, x, layer, chosen, sweeps, saes, random_seeds, seed)
    if heads is not None:
        sides["heads"] = _without_heads(model, images, manifest, heads)
    names = class_names(images.index)
    label, word = class_indices(manifest, read_classes(images.index))
    rows = defence_rows(
        {name: embeddings for name, (embeddings, _) in sides.items()},
        _texts(model, names, prompts(template), prefixes),
        table2_defences([*sides]),
        label,
        word,
        written=manifest["attr_written"].to_numpy() > 0 if "attr_written" in manifest else None,
        protocols=protocols,
        n_resamples=resamples,
        seed=seed,
    )
    rows.insert(0, "dataset", images.name)
    rows.insert(1, "split", split)
    rows["n_units"] = rows["image"].map({name: n for name, (_, n) in sides.items()})
    rows["n_classes"] = len(names)
    return rows


def _ablated(
    model: ClipModel,
    x: Tensor,
    layer: int,
    chosen: Mapping[str, Path],
    sweeps: Mapping[str, Path],
    saes: Sequence[SaeFiles],
    random_seeds: int,
    seed: int,
) -> Side:
    """Return the sides with the chosen latents, random latents or the chosen neurons at 0."""
    sides = {}
    for kind in ("latents", "neurons"):
        label, members = chosen_of_kind(chosen, kind)
        units, _ = units_of(label, saes, model)
        sets = {kind: members}
        if kind == "latents":
            active = Responses.load(unit_file(sweeps[label], "responses", label)).active
            controls = random_units(active, len(members), random_seeds, seed)
            sets |= {f"random_{i}": control for i, control in enumerate(controls)}
        for name, off in sets.items():
            without = [LayerSet(layer, units, off)]
            sides[name] = embeddings_without(model, layer, x, without).cpu(), len(off)
    return sides


def random_units(active: np.ndarray, n: int, seeds: int, seed: int = 0) -> list[np.ndarray]:
    """Return `seeds` random sets of `n` units that are ever active: the control of equal size."""
    alive = np.flatnonzero(active > 0)
    n = min(n, len(alive))
    rngs = (np.random.default_rng((seed, i)) for i in range(seeds))
    return [np.sort(rng.choice(alive, size=n, replace=False)) for rng in rngs]


def _without_heads(
    model: ClipModel, images: ImageFiles, manifest: pd.DataFrame, heads: Path
) -> tuple[Tensor, int]:
    """Return embeddings [image, d_embed] with the silenced heads, and the number of heads."""
    ranked = pd.read_csv(heads)
    ranked = ranked.loc[ranked["silenced"], ["layer", "head"]]
    silenced = list(ranked.itertuples(index=False, name=None))
    batches = pixel_batches(model, images, manifest)
    return embeddings_without_heads(model, batches, silenced), len(silenced)


def _texts(
    model: ClipModel,
    names: Sequence[str],
    template: str | Sequence[str],
    prefixes: Mapping[str, Path],
) -> dict[str, Tensor]:
    """Return {text side: unit class embeddings [class, d_embed]}."""
    texts = {NONE: class_embeddings(model, names, template).cpu()}
    for name, folder in prefixes.items():
        vector = load_prefix(folder / "prefix.safetensors")
        texts[name] = prefixed_class_embeddings(model, names, template, vector).cpu()
    return texts
