"""Top images of all latents and neurons at a chosen set's layer, and maps of those shown."""

from pathlib import Path

import numpy as np
import pandas as pd
from _job import Job
from _pictured import NEURONS, pictured

from clip_sae.analyses.pictures import largest_by_side, shown_rows
from clip_sae.analyses.suppression.ablation import Latents, Neurons
from clip_sae.analyses.suppression.images import StoreImages
from clip_sae.analyses.top_images import measure_top_images, token_values, write_top_images
from clip_sae.datasets import read_manifest
from clip_sae.sae import Sae
from clip_sae.specs import write_text
from clip_sae.store import ActivationStore

COLUMNS = ["dataset", "layer", "units", "condition", "ranking", "concept", "kind", "unit", "gap",
           "in_set", "n_active", "n_images", "place", "row", "path", "label", "value"]  # fmt: skip

job = Job(snakemake)
arguments, device = job.arguments, job.torch_device()
complete = Path(snakemake.output[0])
found = pictured(arguments)
shown, maps = pd.DataFrame(columns=COLUMNS), np.zeros((0, 0), np.float32)
if found is None:
    job.log.warning("%s: every chosen set is empty, so there is nothing to show.",
                    arguments["dataset"])  # fmt: skip
else:
    store = ActivationStore(Path(arguments["stores"][found.layer]))
    sae = Sae.load(Path(arguments["saes"][found.layer][found.label]), device)
    units = {found.label: Latents(sae), NEURONS: Neurons(store.d_model)}
    images = StoreImages(store, batch_images=job.batch("batch_images"))
    top = measure_top_images(images, units, arguments["images"], device=device, signed=[NEURONS])
    write_top_images(complete.parent / "top_images.npz", top)
    # A set that was chosen on CLS is shown where CLS is strongest.
    ranking = "cls" if found.tokens == "cls" else arguments["ranking"]
    manifest = read_manifest(Path(arguments["index"]))
    tables, parts = [], []
    for kind, name in (("latent", found.label), ("neuron", NEURONS)):
        best, gap = top[name][ranking], found.gap[kind]
        # Neurons are few, and their chosen set is often empty: then the largest gaps of all.
        pool = found.chosen[kind] if kind == "latent" else np.arange(len(gap))
        sides = largest_by_side(gap, pool, arguments["units"])
        for side, concept in arguments["concepts"].items():
            in_set = set(found.chosen[kind].tolist())
            table = shown_rows(sides[side], gap, in_set, best.row, best.value, best.n_active)
            if table.empty:
                continue
            rows = table["row"].to_numpy()
            where = StoreImages(store, np.unique(rows))
            values = token_values(where, units[name], rows, table["unit"], device=device)
            if name in arguments["cls_only"]:
                values[:, 1:] = np.nan  # the SAE was never shown a patch
            parts.append(values)
            about = {"dataset": arguments["dataset"], "layer": int(found.layer), "units": name,
                     "condition": found.condition, "ranking": ranking, "concept": concept,
                     "kind": kind, "n_images": int(best.n_images)}  # fmt: skip
            pictures = manifest.loc[rows, ["path", "label"]].reset_index(drop=True)
            tables.append(pd.concat([table, pictures], axis=1).assign(**about))
    if tables:
        shown, maps = pd.concat(tables, ignore_index=True)[COLUMNS], np.concatenate(parts)
write_text(complete.parent / "shown.csv", shown.to_csv(index=False))
np.save(complete.parent / "maps.npy", maps)  # [row of shown.csv, token]
job.publish(str(complete), rows=len(shown))
