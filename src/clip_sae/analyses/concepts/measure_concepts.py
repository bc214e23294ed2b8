"""One pass over a store, of all latents and neurons: sums, class counts, top images."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from clip_sae.analyses.concepts.maps import reference_maps
from clip_sae.analyses.concepts.table import concept_table
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
    """Write concepts.csv (a row per unit) and the arrays that it comes from.

    class_counts.npz: [class, latent] tokens; top_images.npz: [unit, place]; sums.npz: of units;
    image_latents.npz: [image, place], images as in the store; maps.npy: [latent, place, patch].
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
    """Return a row per unit: sae, layer, kind (latent, neuron), and the columns of both tables."""
    tables = [concept_table(one, label, names).assign(kind=kind) for kind, one in found.items()]
    table = pd.concat(tables, ignore_index=True)
    table = table[["kind", *table.columns.drop("kind")]]
    table.insert(0, "layer", sae.layer)
    table.insert(0, "sae", sae.label)
    return table
