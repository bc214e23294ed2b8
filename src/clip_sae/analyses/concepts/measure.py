"""One pass over a store, of all latents and neurons: sums, class counts, top images, the table.

PatchSAE §3.2 and Fig. 3. p_c is the share of a unit's activation, over its top images, that falls
on images of class c; the label entropy is −Σ_c p_c ln p_c: 0 if all images have one class.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from clip_sae.analyses.concepts.unit_maps import reference_maps
from clip_sae.analyses.shared.class_counts import write_class_counts
from clip_sae.analyses.shared.models import class_names
from clip_sae.analyses.shared.named_records import write_records
from clip_sae.analyses.shared.store_images import StoreImages
from clip_sae.analyses.shared.sums import ConceptSums, measure_units
from clip_sae.analyses.shared.top_images import write_top_images
from clip_sae.analyses.shared.units import Latents, Neurons
from clip_sae.datasets.manifest import read_manifest
from clip_sae.files import write_output
from clip_sae.npz import write_arrays
from clip_sae.planning.inputs import SaeFiles
from clip_sae.sae import Sae
from clip_sae.store import ActivationStore


def measure_concepts(
    job, *, index: Path, store: Path, sae: SaeFiles, threshold: float, top_images: int
) -> None:
    """Write concepts.csv (a row per unit) and the arrays behind it.

    class_counts.npz: [class, latent] tokens; top_images.npz: [unit, rank]; sums.npz: of units;
    image_latents.npz: [image, rank], images as in the store; maps.npy: [latent, rank, patch].
    """
    device, folder, names = job.torch_device(), job.folder, class_names(index)
    label = read_manifest(index)["label_idx"].to_numpy()
    opened = ActivationStore(store)
    images = StoreImages(opened, batch_images=job.batch("batch_images"))
    units = {
        "latent": Latents(Sae.load(sae.folder, device)),
        "neuron": Neurons(opened.d_model),
    }
    found = measure_units(
        images, units, label, len(names), top_images, threshold=threshold, device=device
    )
    job.facts |= write_output(folder / "concepts.csv", _table(found, label, names, sae))
    write_class_counts(folder / "class_counts.npz", found["latent"].class_counts)
    write_top_images(
        folder / "top_images.npz", {kind: {"mean": one.top} for kind, one in found.items()}
    )
    write_records(folder / "sums.npz", {kind: one.sums for kind, one in found.items()})
    best = found["latent"].strongest
    write_arrays(
        folder / "image_latents.npz",
        {"row": images.rows, "unit": best.unit, "value": best.value},
    )
    maps = reference_maps(images, units["latent"], found["latent"].top.row, device=device)
    np.save(folder / "maps.npy", maps)


def _table(
    found: Mapping[str, ConceptSums], label: np.ndarray, names: list[str], sae: SaeFiles
) -> pd.DataFrame:
    """Return a row per unit: sae, layer, kind (latent, neuron), and columns of `concept_table`."""
    tables = [concept_table(one, label, names).assign(kind=kind) for kind, one in found.items()]
    table = pd.concat(tables, ignore_index=True).assign(sae=sae.label, layer=sae.layer)
    return table[list(dict.fromkeys(["sae", "layer", "kind", *table.columns]))]


def concept_table(found: ConceptSums, label: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """Return a row per unit.

    Columns: unit; n_images, n_active, sparsity (share of images on which it is active),
    log10_sparsity, mean_activation (over the images on which it is active), top_activation;
    label_entropy (nats), label_entropy_normalised (over the highest that as many images can have,
    0…1), label_std (class indices), top_label and top_label_share (the class with most of the top
    images' activation); strong_tokens and strong_classes (tokens above the threshold, and classes
    that have one); images (manifest rows, strongest first). A unit with fewer top images than
    requested has no entropy: few images of one class would pass for a clear concept.

    Args:
        found: of latents or neurons. Negative values of neurons weigh nothing in their entropy;
            their sparsity, mean activation and strong tokens stay empty.
        label: class index of every row of the manifest; names: of the classes.
    """
    sums, top = found.sums, found.top
    k = top.row.shape[1]
    top_label = np.where(top.row >= 0, label[np.maximum(top.row, 0)], -1)
    value = np.where(top.row >= 0, np.maximum(top.value, 0.0), 0.0)
    shares = class_shares(value, top_label, len(names))
    enough = (top.row >= 0).all(1)
    entropy = np.where(enough, label_entropy(shares), np.nan)
    highest = highest_entropy(k, len(names))
    alive = sums.n_active > 0
    with np.errstate(divide="ignore"):
        log10 = np.where(alive, np.log10(sums.sparsity), np.nan)
    table = pd.DataFrame(
        {
            "unit": np.arange(len(alive)),
            "n_images": int(sums.n_images.sum()),
            "n_active": sums.n_active,
            "sparsity": sums.sparsity,
            "log10_sparsity": log10,
            "mean_activation": sums.mean_activation,
            "top_activation": np.where(alive, value[:, 0], np.nan),
            "label_entropy": entropy,
            "label_entropy_normalised": entropy / highest if highest > 0 else np.nan,
            "label_std": np.where(enough, label_deviation(top_label), np.nan),
            "top_label": np.where(alive, np.asarray(names)[shares.argmax(1)], ""),
            "top_label_share": np.where(alive, shares.max(1), np.nan),
            "strong_tokens": pd.array([pd.NA] * len(alive), dtype="Int64"),
            "strong_classes": pd.array([pd.NA] * len(alive), dtype="Int64"),
            "images": [" ".join(str(row) for row in rows if row >= 0) for rows in top.row],
        }
    )
    if found.class_counts is None:
        table[["sparsity", "log10_sparsity", "mean_activation"]] = np.nan
    else:
        table["strong_tokens"] = found.class_counts.counts.sum(0)
        table["strong_classes"] = (found.class_counts.counts > 0).sum(0)
    return table


def class_shares(value: np.ndarray, label: np.ndarray, n_classes: int) -> np.ndarray:
    """Return [unit, class]: share of the activation on images of each class; rows sum to 1.

    A unit without images has zeros.

    Args:
        value: [unit, image] activation on its top images, ≥ 0; label: [unit, image] class index,
            −1 where a unit has fewer images.
    """
    mass = np.where(label >= 0, value, 0.0).astype(np.float64)
    shares = np.zeros((len(value), n_classes))
    at = np.broadcast_to(np.arange(len(value))[:, None], label.shape)
    np.add.at(shares, (at, np.maximum(label, 0)), mass)
    total = shares.sum(1, keepdims=True)
    return np.divide(shares, total, out=np.zeros_like(shares), where=total > 0)


def label_entropy(shares: np.ndarray) -> np.ndarray:
    """Return [unit] −Σ p ln p in nats, of shares [unit, class] (0 ln 0 is 0)."""
    safe = np.where(shares > 0, shares, 1.0)
    return np.abs((shares * np.log(safe)).sum(1))  # abs: no −0.0


def highest_entropy(k: int, n_classes: int) -> float:
    """Return the highest entropy, in nats, of `k` images of `n_classes` classes."""
    return float(np.log(min(k, n_classes)))


def label_deviation(label: np.ndarray) -> np.ndarray:
    """Return [unit] standard deviation (n) of the class indices of its images; NaN for none.

    ASSUME: the paper names a label standard deviation but prints no formula, and the authors'
    files have none. Class indices follow sorted names, so the number means something only where
    neighbouring classes are alike, as ImageNet's are in WordNet's order.
    """
    known = label >= 0
    n = known.sum(1)
    safe = np.maximum(n, 1)
    mean = np.where(known, label, 0).sum(1) / safe
    spread = np.where(known, np.square(label - mean[:, None]), 0.0).sum(1) / safe
    return np.where(n > 0, np.sqrt(spread), np.nan)
