"""Steer one layer: every unit of one kind, or a few latents along the strength.

Steering paper §6.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from clip_sae.analyses.shared.activity import measure_activity
from clip_sae.analyses.shared.chunks import Chunks
from clip_sae.analyses.shared.models import load_model
from clip_sae.analyses.steering.gathered_tables import TABLES, strength_name
from clip_sae.analyses.steering.layer_summary import Thresholds
from clip_sae.analyses.steering.layer_tables import LayerRun, SteeringSettings, n_chunks
from clip_sae.analyses.steering.routes import Routes
from clip_sae.analyses.steering.steered_units import SteeredUnits, units_of
from clip_sae.analyses.steering.strength_curves import choose_units, trace_units
from clip_sae.clip.vocabulary import EmbeddedVocabulary
from clip_sae.datasets.manifest import read_manifest
from clip_sae.files import csv_text, write_output
from clip_sae.planning.scatter import share
from clip_sae.sae import Sae
from clip_sae.store import ActivationStore, to_float32

SAMPLINGS = ("stratified", "first_sorted")


class SteeredLayer:
    """One layer to steer: its residuals of the chosen images, SAE, model and words.

    Args:
        files: clip, index, store, sae and vocabulary, as a step reads them.
        images, sampling, seed: as for `choose_images`; `seed` also draws the units.
        error: "keep" or "drop" the SAE's error.

    Attributes:
        layer: its number; label: the SAE's name in tables.
        x: residuals [image token d_model], float32.
    """

    def __init__(
        self, job, files: Mapping, *, images: int, sampling: str, error: str, seed: int
    ) -> None:
        device, sae, clip = job.torch_device(), files["sae"], files["clip"]
        self.layer, self.label, self.error, self.seed = sae.layer, sae.label, error, seed
        self.model = load_model(job, clip, clip.precision)
        self.vocabulary = EmbeddedVocabulary.load(files["vocabulary"])
        self.store = ActivationStore(files["store"])
        self.sae = Sae.load(sae.folder, device)
        manifest = read_manifest(files["index"])
        rows = choose_images(
            manifest, self.store.source_index, images, sampling=sampling, seed=seed
        )
        residuals = [to_float32(self.store.read(int(row), int(row) + 1)) for row in rows]
        self.x = torch.from_numpy(np.concatenate(residuals)).to(device)

    @torch.inference_mode()
    def units(self, kind: str, n: int | None = None) -> SteeredUnits:
        """Return the units of a kind; latents that fire on the steered split are alive."""
        return units_of(
            kind,
            self.x,
            self.sae,
            lambda sae: measure_activity(self.store, sae).fired()[0] > 0,
            error=self.error,
            n=n,
            seed=self.seed,
        )

    @torch.inference_mode()
    def routes(self, units: SteeredUnits, sequences_per_batch: int) -> Routes:
        """Return the routes from pushes of `units` to the words."""
        return Routes(
            self.model,
            self.layer,
            units.x,
            torch.from_numpy(self.vocabulary.text),
            self.vocabulary.logit_scale,
            sequences_per_batch=sequences_per_batch,
        )

    def label_of(self, kind: str) -> str:
        """Return the name of a kind's units in tables."""
        return {"latent": self.label, "random_sae": f"{self.label} untrained"}.get(kind, kind)


def choose_images(
    manifest: pd.DataFrame, source_index: np.ndarray, n: int, *, sampling: str, seed: int
) -> np.ndarray:
    """Return store rows of `n` images (or of all, if fewer), [image] int64, in reading order.

    Args:
        manifest: rows of the data set; `source_index` [store row] points into its index.
        sampling: "stratified" draws equally often from every class, as far as `n` allows;
            "first_sorted" takes the first `n` by file name, as the authors took 192 files
            of ImageNet's validation set (§6).
        seed: of the stratified draw.
    """
    if sampling not in SAMPLINGS:
        raise ValueError(f"sampling {sampling!r} does not exist; write {', '.join(SAMPLINGS)}.")
    rows = manifest.loc[np.asarray(source_index)].reset_index(drop=True)  # index: store row
    if sampling == "first_sorted":
        # The authors' files lie in one flat folder, so names decide before folders.
        named = rows.assign(name=rows["path"].str.rsplit("/", n=1).str[-1])
        order = named.sort_values(["name", "path"], kind="stable").index
        return order.to_numpy()[:n].astype(np.int64)
    order = np.random.default_rng(seed).permutation(len(rows))
    # By path before the draw, so that the sample does not depend on the order in the store.
    shuffled = rows.sort_values("path", kind="stable").iloc[order]
    turn = shuffled.groupby("label_idx").cumcount()  # each class's first image, then its second
    taken = turn.sort_values(kind="stable").index.to_numpy()[:n]
    return np.asarray(taken, dtype=np.int64)


def measure_steering(
    job,
    *,
    files: Mapping,
    kind: str,
    n_units: int | None,
    grid_units: int | None,
    images: int,
    sampling: str,
    error: str,
    strength: float,
    strengths: Sequence[float],
    gamma: float,
    beta: Sequence[float],
    resamples: int,
    seed: int,
) -> None:
    """Write the tables of `LayerRun`, with the units' layer, kind and label, into the folder.

    A split job measures its part of the units only.

    Args:
        files: as for `SteeredLayer`.
        n_units: the most units; None is all of them.
        the others: as for `SteeringSettings` and `Thresholds`.
    """
    layer = SteeredLayer(job, files, images=images, sampling=sampling, error=error, seed=seed)
    units = layer.units(kind, n_units)
    words = layer.vocabulary.words
    job.log.info(
        "%d units of layer %d on %d images over %d words",
        *(len(units), layer.layer, len(layer.x), len(words)),
    )
    settings = SteeringSettings(
        strength=strength,
        strengths=tuple(strengths),
        thresholds=Thresholds(gamma, tuple(beta)),
        grid_units=grid_units,
        resamples=resamples,
        seed=seed,
    )
    chunks = Chunks(job.folder / "blocks", job.identity())
    run = LayerRun(
        units,
        layer.routes(units, job.batch("sequences_per_batch")),
        words,
        settings,
        units_per_batch=job.batch("units_per_batch"),
        chunks=chunks,
    )
    if job.part:
        mine = share(n_chunks(len(units)), job.part)
        run.measure_chunks(mine)
        job.facts["blocks"] = len(mine)
        return
    tables = run.tables()
    names = {"label": layer.label_of(kind), "kind": kind, "layer": layer.layer}
    for name, file in TABLES.items():
        table = getattr(tables, name)
        for column, value in names.items():
            table.insert(0, column, value)
        write_output(job.folder / file, csv_text(table, digits=7))
    job.facts |= {"units": len(units), "logit_scale": layer.vocabulary.logit_scale}
    job.discard_later(chunks.folder)


def measure_traces(
    job,
    *,
    files: Mapping,
    measured: Path | None,
    named: Sequence[int] | None,
    images: int,
    sampling: str,
    error: str,
    strength: float,
    strengths: Sequence[float],
    gamma: float,
    seed: int,
) -> str:
    """Return the rows of `trace_units`, with the layer in front, as CSV.

    Args:
        files: as for `SteeredLayer`.
        measured: folder of the layer's measured latents; None if latents are named.
        named: the latents to follow; None lets `choose_units` choose among the measured ones.
        strength, gamma: of half-saturation and onset.
    """
    if named is None:
        rows = pd.read_csv(measured / TABLES["units"], dtype={"strength": str})
        chosen = choose_units(rows, strength=strength_name(strength), gamma=gamma)
    else:
        chosen = [(unit, "named") for unit in named]
    layer = SteeredLayer(job, files, images=images, sampling=sampling, error=error, seed=seed)
    units = layer.units("latent")
    routes = layer.routes(units, job.batch("sequences_per_batch"))
    words = layer.vocabulary.words
    table = trace_units(units, routes, words, chosen, strengths, strength=strength, gamma=gamma)
    table.insert(0, "layer", layer.layer)
    job.facts["latents"] = len(chosen)
    return csv_text(table, digits=7)
