"""Scores of masks of chosen latents and neurons on held-out images, and examples to show."""

import difflib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from clip_sae.analyses.concepts.localisation import image_scores, localisation_table
from clip_sae.analyses.concepts.masks import read_masks
from clip_sae.analyses.concepts.unit_maps import ChosenUnits, choose_units, picked_values
from clip_sae.analyses.shared.models import class_names
from clip_sae.analyses.shared.named_records import read_records
from clip_sae.analyses.shared.store_images import StoreImages
from clip_sae.analyses.shared.sums import UnitSums
from clip_sae.analyses.shared.units import Latents, Neurons
from clip_sae.datasets.manifest import read_manifest
from clip_sae.files import write_output
from clip_sae.planning.inputs import ImageFiles, SaeFiles
from clip_sae.sae import Sae
from clip_sae.store import ActivationStore


def measure_masks(
    job,
    *,
    images: ImageFiles,
    store: Path,
    sae: SaeFiles,
    measured: Path,
    masks_folder: str | None,
    grid: Sequence[int],
    max_share: float,
    examples: Sequence[str],
    n_examples: int,
    strongest: int,
    resamples: int,
    seed: int,
) -> None:
    """Write examples.csv and their maps [row, patch]; with known masks, the scores as well.

    concept_masks.csv: a row per choice and class; scores.csv: per image and choice;
    example_masks.npy: bool [row, height, width] of the examples' objects.

    Args:
        measured: folder that `measure_concepts` wrote.
        masks_folder: folder of the known masks, next to the images; None for unknown masks.
        examples: paths of images to show; if empty, `n_examples` are chosen.
    """
    manifest, names = read_manifest(images.index), class_names(images.index)
    label, device, folder = manifest["label_idx"].to_numpy(), job.torch_device(), job.folder
    opened, shown = ActivationStore(store), None
    if examples:
        shown = named_examples(manifest, examples)
        StoreImages(opened, shown)  # names an image of another split
    elif not masks_folder:
        shown = _first_of_classes(opened, label, n_examples)
    # Without known masks no image is scored, and only the shown images are read.
    read = StoreImages(
        opened, None if masks_folder else shown, batch_images=job.batch("batch_images")
    )
    own = label[read.rows]
    units = {
        "latent": Latents(Sae.load(sae.folder, device)),
        "neuron": Neurons(opened.d_model),
    }
    chosen = choose_units(
        read,
        units,
        read_records(measured / "sums.npz", UnitSums),
        label,
        device=device,
        max_share=max_share,
        strongest=strongest,
        seed=seed,
    )
    masks, score = None, np.full(len(read), np.nan)
    if masks_folder:
        known = replace(images, root=images.root / masks_folder)
        masks, coverage = read_masks(known, manifest.loc[read.rows], tuple(grid))
        scores = image_scores(chosen.maps, coverage, seed)
        table = localisation_table(scores, own, names, n_resamples=resamples, seed=seed)
        write_output(folder / "concept_masks.csv", _named(table, sae))
        by_image = scores.assign(row=read.rows[scores["image"]]).drop(columns="image")
        write_output(folder / "scores.csv", by_image)
        score = scores.loc[scores["choice"] == "class_latent", "iou"].to_numpy()
    if shown is None:
        positions = median_examples(score, own, n_examples)
    else:
        positions = [int(np.flatnonzero(read.rows == row)[0]) for row in shown]
    found = _examples(positions, chosen, read.rows, [names[i] for i in own], score)
    maps = picked_values(read, units["latent"], found["row"], found["unit"], device=device)
    write_output(folder / "examples.csv", found)
    np.save(folder / "example_maps.npy", maps[:, 1:])
    if masks is not None:
        np.save(folder / "example_masks.npy", masks[found["position"]])
    job.facts["images"] = len(read)


def _first_of_classes(store: ActivationStore, label: np.ndarray, n: int) -> np.ndarray:
    """Return the manifest rows of `n` images of the store; label: [row] class index."""
    rows = np.sort(store.source_index)
    return rows[first_examples(label[rows], n)]


def _named(table: pd.DataFrame, sae: SaeFiles) -> pd.DataFrame:
    """Put the columns sae and layer in front."""
    table.insert(0, "layer", sae.layer)
    table.insert(0, "sae", sae.label)
    return table


def _examples(
    positions: Sequence[int],
    chosen: ChosenUnits,
    rows: np.ndarray,
    label: Sequence[str],
    score: np.ndarray,
) -> pd.DataFrame:
    """Return a row per image and latent to show: position, row, unit, role, label, class_iou.

    Args:
        positions: of the images; rows, label, score: [image] manifest row, class and IoU.
    """
    of_class, found = chosen.maps["class_latent"].unit, []
    for position in positions:
        shown = [of_class[position], *chosen.strongest[position]]
        for unit in dict.fromkeys(int(unit) for unit in shown if unit >= 0):
            found.append(
                {
                    "position": position,
                    "row": rows[position],
                    "unit": unit,
                    "role": "tells its class" if unit == of_class[position] else "strongest",
                    "label": label[position],
                    "class_iou": score[position],
                }
            )
    return pd.DataFrame(found)


def named_examples(manifest: pd.DataFrame, paths: Sequence[str]) -> np.ndarray:
    """Return the manifest rows of images named by their paths, in that order."""
    rows = {path: row for row, path in manifest["path"].items()}
    lacking = [path for path in paths if path not in rows]
    if lacking:
        close = difflib.get_close_matches(lacking[0], rows, 1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(
            f"analyses.concepts.examples: {lacking[0]!r} is not in the manifest.{hint} Write paths "
            f"as manifest.csv has them."
        )
    return np.array([rows[path] for path in paths], dtype=np.int64)


def _spread(own: np.ndarray, n: int) -> np.ndarray:
    """Return up to `n` of the classes in `own`, spread evenly."""
    classes = np.unique(own)
    return classes[np.linspace(0, len(classes) - 1, min(n, len(classes))).round().astype(int)]


def first_examples(own: np.ndarray, n: int) -> np.ndarray:
    """Return the position of the first image of `n` evenly spread classes; own: [image] class."""
    return np.array([np.flatnonzero(own == c)[0] for c in _spread(own, n)], dtype=np.int64)


def median_examples(score: np.ndarray, own: np.ndarray, n: int) -> np.ndarray:
    """Return the position of the image of median score of each of `n` evenly spread classes.

    Args:
        score: [image]; own: [image] class index.
    """
    found = []
    for c in _spread(own, n):
        members = np.flatnonzero(own == c)
        order = members[np.argsort(score[members], kind="stable")]
        found.append(order[(len(order) - 1) // 2])
    return np.asarray(found, dtype=np.int64)
