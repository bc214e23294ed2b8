"""Top images of all latents and neurons at a chosen set's layer, and maps of the shown ones.

Steering paper Figs 2 and 10.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from clip_sae.analyses.pictures.pictured import PicturedSet, Saes, pictured
from clip_sae.analyses.shared import top_images
from clip_sae.analyses.shared.names import NEURONS
from clip_sae.analyses.shared.store_images import StoreImages
from clip_sae.analyses.shared.units import Latents, Neurons
from clip_sae.datasets.manifest import read_manifest
from clip_sae.files import write_output
from clip_sae.planning.recipes import SaeRecipe
from clip_sae.sae import Sae
from clip_sae.store import ActivationStore

COLUMNS = ["dataset", "layer", "units", "condition", "ranking", "concept", "kind", "unit", "gap",
           "in_set", "n_active", "n_images", "place", "row", "path", "label", "value"]  # fmt: skip
UNIT_COLUMNS = ["unit", "gap", "in_set", "n_active", "place", "row", "value"]
SIDES = ("a", "not_a")  # stronger with the attribute, stronger without it


def measure_top_images(
    job,
    *,
    index: Path,
    chosen: Mapping[str, Path],
    gaps: Mapping[str, Path],
    stores: Mapping[str, Path],
    saes: Saes,
    name: str,
    concepts: Mapping[str, str],
    ranking: str,
    n_images: int,
    n_units: int,
) -> None:
    """Write top_images.npz (of all units), shown.csv (`COLUMNS`) and maps.npy of its rows.

    maps.npy: [row of shown.csv, token], the unit's value at each token of its image.

    Args:
        chosen, gaps: as for `pictured`; stores: by layer.
        concepts: {side of the gap: text above its units}.
        n_images: of each unit; n_units: shown units of each side.
    """
    found = pictured(chosen, gaps, saes)
    tables, maps = [], []
    if found is None:
        job.log.warning("%s: every chosen set is empty, so no image is shown.", name)
    else:
        store, device = ActivationStore(stores[found.layer]), job.torch_device()
        units = {
            found.sae.label: Latents(Sae.load(found.sae.folder, device)),
            NEURONS: Neurons(store.d_model),
        }
        top = top_images.measure_top_images(
            StoreImages(store, batch_images=job.batch("batch_images")),
            units,
            n_images,
            device=device,
            signed=[NEURONS],
        )
        top_images.write_top_images(job.folder / "top_images.npz", top)
        # A set that was chosen on CLS is shown where CLS is strongest.
        ranking = "cls" if found.tokens == "cls" else ranking
        best = {label: by_ranking[ranking] for label, by_ranking in top.items()}
        about = {"dataset": name, "ranking": ranking}
        for table in _tables(found, best, concepts, n_units, read_manifest(index)):
            tables.append(table.assign(**about))
            maps.append(_maps(found, store, units, table, device))
    shown = (
        pd.concat(tables, ignore_index=True)[COLUMNS] if tables else pd.DataFrame(columns=COLUMNS)
    )
    job.facts |= write_output(job.folder / "shown.csv", shown)
    np.save(job.folder / "maps.npy", np.concatenate(maps) if maps else np.zeros((0, 0), np.float32))


def _tables(
    found: PicturedSet,
    best: Mapping[str, top_images.TopImages],
    concepts: Mapping[str, str],
    n_units: int,
    manifest: pd.DataFrame,
) -> Iterator[pd.DataFrame]:
    """Yield the rows of shown.csv of each kind of unit and concept that has any.

    Args:
        best: {label of units: top images by the shown ranking}.
    """
    for kind, label in (("latent", found.sae.label), ("neuron", NEURONS)):
        top, gap = best[label], found.gap[kind]
        # Neurons are few and their chosen set is often empty, so all neurons compete.
        pool = found.chosen[kind] if kind == "latent" else np.arange(len(gap))
        sides = largest_by_side(gap, pool, n_units)
        in_set = set(found.chosen[kind].tolist())
        for side, concept in concepts.items():
            table = shown_rows(sides[side], gap, in_set, top.row, top.value, top.n_active)
            if table.empty:
                continue
            pictures = manifest.loc[table["row"].to_numpy(), ["path", "label"]]
            yield pd.concat([table, pictures.reset_index(drop=True)], axis=1).assign(
                layer=int(found.layer),
                units=label,
                condition=found.condition,
                concept=concept,
                kind=kind,
                n_images=int(top.n_images),
            )


def _maps(
    found: PicturedSet,
    store: ActivationStore,
    units: Mapping[str, Latents | Neurons],
    table: pd.DataFrame,
    device: str,
) -> np.ndarray:
    """Return [row, token]: the unit's value at each token of the image of each row of a table."""
    rows, label = table["row"].to_numpy(), table["units"].iloc[0]
    images = StoreImages(store, np.unique(rows))
    values = top_images.token_values(images, units[label], rows, table["unit"], device=device)
    if label != NEURONS and SaeRecipe.from_dict(found.sae.recipe).tokens == "cls":
        values[:, 1:] = np.nan  # the SAE never saw a patch
    return values


def largest_by_side(gap: np.ndarray, units: np.ndarray, n: int) -> dict[str, np.ndarray]:
    """Return up to `n` of `units` on either side of the gap, the largest gaps first.

    Args:
        gap: [unit], of all units, from `Contrast.gap`.
    """
    units = np.asarray(units, dtype=np.int64)
    found = {}
    for side, sign in zip(SIDES, (1, -1), strict=True):
        score = sign * gap[units]
        order = np.argsort(-score, kind="stable")
        found[side] = units[order[score[order] > 0][:n]]
    return found


def shown_rows(
    units: Sequence[int],
    gap: np.ndarray,
    in_set: Collection[int],
    row: np.ndarray,
    value: np.ndarray,
    n_active: np.ndarray,
) -> pd.DataFrame:
    """Return a table with a row per unit and image: unit, gap, in_set, n_active, place, row, value.

    Args:
        units: in the order of the figure.
        gap, n_active: [unit]; row, value: [unit, rank], of all units, as in `TopImages`.
        in_set: the ablated units.
    """
    rows = [
        {
            "unit": int(unit),
            "gap": float(gap[unit]),
            "in_set": int(unit) in in_set,
            "n_active": int(n_active[unit]),
            "place": place,
            "row": int(row[unit, place]),
            "value": float(value[unit, place]),
        }
        for unit in units
        for place in range(row.shape[1])
        if row[unit, place] >= 0
    ]
    return pd.DataFrame(rows, columns=UNIT_COLUMNS)
