"""Scores of the latents of SAEs, of neurons and of an untrained SAE, in the space of a CLIP.

Monosemanticity and clarity of every unit (`monosemanticity`), their means, and the agreement of
seeds (`stability`).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from clip_sae.analyses.quality.monosemanticity import (
    MonosemanticitySums,
    SimilaritySpace,
    clarity,
    factor_spaces,
    read_factors,
)
from clip_sae.analyses.quality.stability import seed_groups, seed_stability
from clip_sae.analyses.shared.models import load_model
from clip_sae.analyses.shared.store_images import StoreImages
from clip_sae.analyses.shared.sums import Watched
from clip_sae.analyses.shared.top_images import measure_top_images
from clip_sae.analyses.shared.units import Latents, Neurons, Units
from clip_sae.analyses.shared.untrained import untrained_sae
from clip_sae.clip.model import ClipModel
from clip_sae.datasets.manifest import read_manifest
from clip_sae.datasets.pixels import decode_row
from clip_sae.extraction.stages import StageClock, decoded_batches
from clip_sae.files import write_output
from clip_sae.metrics import bootstrap_means, percentile_interval
from clip_sae.npz import read_arrays, write_arrays
from clip_sae.planning.inputs import ClipFiles, ImageFiles, SaeFiles
from clip_sae.sae import Sae
from clip_sae.store import ActivationStore

EMBEDDINGS = "embeddings.npz"


def embed_images(job, *, clip: ClipFiles, images: ImageFiles, split: str) -> None:
    """Write embeddings.npz: rows [image] of the manifest, embeddings [image, d_embed] of length 1.

    `clip`: the model in whose space units are scored.
    """
    manifest = read_manifest(images.index, split)
    manifest = manifest[manifest["status"] == "ok"]
    found = image_embeddings(
        load_model(job, clip),
        images,
        manifest,
        batch_images=job.batch("batch_images"),
        workers=max(1, job.threads),
    )
    arrays = {"rows": manifest.index.to_numpy(), "embeddings": found}
    write_arrays(job.folder / EMBEDDINGS, arrays)
    job.facts["images"] = len(found)


@torch.inference_mode()
def image_embeddings(
    model: ClipModel,
    images: ImageFiles,
    rows: pd.DataFrame,
    *,
    batch_images: int = 256,
    workers: int = 1,
    progress: bool = True,
) -> np.ndarray:
    """Return embeddings of unit length [image, d_embed] float32 of rows of the manifest.

    The images are decoded at the size of `model`, not at that of `images.decoding`.
    """
    size = model.architecture.image_size
    sources = [(row,) for row in rows.itertuples()]
    starts = range(0, len(sources), batch_images)
    batches = decoded_batches(
        sources,
        [(start, min(start + batch_images, len(sources))) for start in starts],
        lambda row: decode_row(images, row, image_size=size),
        size,
        workers=workers,
        pinned=model.device.type == "cuda",
        clock=StageClock(),
    )
    found = [
        model.embed_images(model.normalise(pixels)).float().cpu().numpy()
        for pixels in tqdm(batches, total=len(starts), desc="embed", disable=not progress)
    ]
    return np.concatenate(found)


def measure_quality(
    job,
    *,
    images: ImageFiles,
    embeddings: Path,
    store: Path,
    saes: Sequence[SaeFiles],
    factors: Mapping | None,
    top_images: int,
    resamples: int,
    seed: int,
) -> None:
    """Write summary.csv (a row per SAE and control) and latents.csv (a row per unit).

    Args:
        embeddings: folder that `embed_images` wrote.
        saes: of one recipe at one layer.
        factors: {"file": a CSV in the images' folder, "columns"}; None for unknown factors.
    """
    device = job.torch_device()
    embedded = read_arrays(embeddings / EMBEDDINGS)
    image_rows = embedded["rows"]
    spaces = [SimilaritySpace("encoder", embedded["embeddings"])]
    if factors:
        paths = read_manifest(images.index).loc[image_rows, "path"].reset_index(drop=True)
        known = read_factors(images.root / factors["file"], factors["columns"], paths)
        spaces += factor_spaces(known)
    opened = ActivationStore(store)
    read = StoreImages(opened, batch_images=job.batch("batch_images"))
    rows, latents, decoders = [], [], {}

    def add(name: str, units: Units, **about: object) -> np.ndarray:
        """Score `units`; return [unit] bool, those that have a score in the encoder's space."""
        scores = score_units(read, units, image_rows, spaces, top_images, device=device)
        names = {"recipe": saes[0].name, "layer": saes[0].layer, "sae": name, **about}
        sizes = {"n_images": len(read), "total_units": units.n_units}
        rows.append(names | sizes | unit_means(scores, n_resamples=resamples, seed=seed))
        latents.append(scores.assign(sae=name, unit=np.arange(len(scores))))
        return scores["monosemanticity_encoder"].notna().to_numpy()

    for files in saes:
        job.log.info("%s", files.variant)
        sae = Sae.load(files.folder, device)
        about = {key: files.recipe[key] for key in ("seed", "architecture")}
        alive = add(files.variant, Latents(sae), kind="latent", **about)
        decoders[files.variant] = sae.W_dec.float().cpu().numpy()[alive]
    _, x = next(read.batches(device))
    add("untrained", Latents(untrained_sae(sae, x, seed)), kind="untrained")
    add("neurons", Neurons(opened.d_model), kind="neuron")
    stability = seed_stability(decoders, seed_groups(decoders), seed)
    table = pd.DataFrame(rows).merge(stability, on="sae", how="left")
    for space in spaces:
        table[f"floor_{space.name}"] = space.floor
    job.facts |= write_output(job.folder / "summary.csv", table)
    write_output(job.folder / "latents.csv", pd.concat(latents, ignore_index=True))


def score_units(
    images: StoreImages,
    units: Units,
    rows: np.ndarray,
    spaces: Sequence[SimilaritySpace],
    k: int,
    *,
    device: torch.device | str = "cpu",
    progress: bool = True,
) -> pd.DataFrame:
    """Return a row per unit: monosemanticity_<space> and clarity_<space>.

    A unit's value on an image is its mean over the tokens. Monosemanticity weighs all images by
    it, clarity only the `k` strongest, equally.

    Args:
        rows: [image] manifest row of the vectors of `spaces`; they hold those of all `images`.
    """
    sums = MonosemanticitySums(rows, list(spaces), units.n_units, device)
    top = measure_top_images(
        images,
        {"units": Watched(units, images.rows, sums)},
        k,
        device=device,
        rankings=["mean"],
        signed=["units"] if units.signed else [],
        progress=progress,
    )["units"]["mean"]
    position = np.full(int(rows.max()) + 1, -1)
    position[rows] = np.arange(len(rows))
    columns = {f"monosemanticity_{name}": score for name, score in sums.scores().items()}
    for space in spaces:
        columns[f"clarity_{space.name}"] = clarity(top.row, position, space.vectors)
    return pd.DataFrame(columns)


def unit_means(scores: pd.DataFrame, *, n_resamples: int, seed: int) -> dict[str, float]:
    """Return the mean of every column with _low and _high (95 % bootstrap over units), and n_units.

    `scores`: a row per unit. A unit that lacks a score in any column (it has fewer than two images)
    is left out of all, so that all means cover the same units.
    """
    whole = scores.dropna()
    row: dict[str, float] = {"n_units": len(whole)}
    if whole.empty:
        return row | {f"{name}{end}": np.nan for name in scores for end in ("", "_low", "_high")}
    values = whole.to_numpy(dtype=float)
    draws = bootstrap_means(values, n_resamples, seed)
    for i, name in enumerate(scores.columns):
        row[name] = float(values[:, i].mean())
        row[f"{name}_low"], row[f"{name}_high"] = percentile_interval(draws[:, i])
    return row
