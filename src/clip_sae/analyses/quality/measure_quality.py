"""Score every latent of the SAEs of a recipe at a layer, its neurons, and an untrained SAE."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from clip_sae.analyses.quality.embeddings import read_embeddings
from clip_sae.analyses.quality.monosemanticity import SimilaritySpace
from clip_sae.analyses.quality.scores import score_units
from clip_sae.analyses.quality.summary import seed_groups, seed_stability, unit_means
from clip_sae.analyses.quality.truth import factor_spaces, read_factors
from clip_sae.analyses.shared.store_images import StoreImages
from clip_sae.analyses.shared.units import Latents, Neurons, Units
from clip_sae.analyses.shared.untrained import untrained_sae
from clip_sae.datasets.manifest import read_manifest
from clip_sae.files import write_output
from clip_sae.planning.inputs import ImageFiles, SaeFiles
from clip_sae.sae import Sae
from clip_sae.store import ActivationStore


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
        embeddings: folder of `embed_images`.
        saes: of one recipe at one layer.
        factors: {"file": a CSV in the images' folder, "columns"}; None where none are known.
    """
    device = job.torch_device()
    rows, vectors = read_embeddings(embeddings / "embeddings.npz")
    spaces = [SimilaritySpace("encoder", vectors)]
    if factors:
        spaces += _true_spaces(images, rows, factors)
    opened = ActivationStore(store)
    read = StoreImages(opened, batch_images=job.batch("batch_images"))

    def score(units: Units) -> pd.DataFrame:
        return score_units(read, units, rows, spaces, top_images, device=device)

    def means(scores: pd.DataFrame) -> dict[str, float]:
        return unit_means(scores, n_resamples=resamples, seed=seed)

    scored, decoders = _Scored(saes[0], len(read), score, means), {}
    for files in saes:
        job.log.info("%s", files.variant)
        sae = Sae.load(files.folder, device)
        about = {key: files.recipe[key] for key in ("seed", "architecture")}
        alive = scored.add(files.variant, Latents(sae), kind="latent", **about)
        decoders[files.variant] = sae.W_dec.float().cpu().numpy()[alive]
    _, x = next(read.batches(device))
    scored.add("untrained", Latents(untrained_sae(sae, x, seed)), kind="untrained")
    scored.add("neurons", Neurons(opened.d_model), kind="neuron")
    stability = seed_stability(decoders, seed_groups(decoders), seed)
    table = pd.DataFrame(scored.rows).merge(stability, on="sae", how="left")
    for space in spaces:
        table[f"floor_{space.name}"] = space.floor
    job.facts |= write_output(job.folder / "summary.csv", table)
    write_output(job.folder / "latents.csv", pd.concat(scored.latents, ignore_index=True))


def _true_spaces(images: ImageFiles, rows: np.ndarray, factors: Mapping) -> list[SimilaritySpace]:
    """Return the spaces of the images' known factors; rows: [image] of the manifest."""
    paths = read_manifest(images.index).loc[rows, "path"].reset_index(drop=True)
    return factor_spaces(read_factors(images.root / factors["file"], factors["columns"], paths))


class _Scored:
    """Scores of one kind of units after another.

    Attributes:
        rows: one per kind of units: recipe, layer, sae, what tells it, its means.
        latents: tables with a row per unit.
    """

    def __init__(self, files: SaeFiles, n_images: int, score: Callable, means: Callable) -> None:
        self.place = {"recipe": files.name, "layer": files.layer}
        self.n_images, self.score, self.means = n_images, score, means
        self.rows: list[dict] = []
        self.latents: list[pd.DataFrame] = []

    def add(self, name: str, units: Units, **about: object) -> np.ndarray:
        """Score `units`; return [unit] bool, those that have a score in the encoder's space."""
        scores = self.score(units)
        sizes = {"n_images": self.n_images, "total_units": units.n_units}
        self.rows.append({**self.place, "sae": name, **about, **sizes, **self.means(scores)})
        self.latents.append(scores.assign(sae=name, unit=np.arange(len(scores))))
        return scores["monosemanticity_encoder"].notna().to_numpy()
