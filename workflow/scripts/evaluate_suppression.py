"""Every set of latents and neurons of one layer, ablated, or of some kinds of units."""

from pathlib import Path

import numpy as np
from _job import Job
from _suppression import class_texts, load_model

from clip_sae.analyses.blocks import Blocks
from clip_sae.analyses.suppression.bits import write_bits
from clip_sae.analyses.suppression.contrast import read_contrasts
from clip_sae.analyses.suppression.evaluation import Settings
from clip_sae.analyses.suppression.groups import balanced_rows, read_groups, train_counts
from clip_sae.analyses.suppression.images import StoreImages
from clip_sae.analyses.suppression.layer import Layer, evaluate_layer, evaluate_part
from clip_sae.analyses.suppression.sets import threshold_grid
from clip_sae.datasets import read_manifest
from clip_sae.sae import Sae
from clip_sae.scatter import share
from clip_sae.specs import write_text
from clip_sae.store import ActivationStore

job = Job(snakemake)
arguments, device = job.arguments, job.torch_device()
folder = Path(arguments["folder"])
model = load_model(job)
manifest = read_manifest(Path(arguments["index"]))
groups = read_groups(manifest, arguments["attribute"])
splits = {}
for split, place in arguments["stores"].items():
    store, rows = ActivationStore(Path(place)), None
    reading = {
        "tokens": arguments["tokens_read"],
        "batch_images": job.batch("batch_images"),
    }
    if arguments["images"] == "balanced":
        rows = balanced_rows(groups, np.asarray(store.source_index), arguments["seed"])
        if split == "test":
            splits["test_full"] = StoreImages(store, **reading)
    splits[split] = StoreImages(store, rows, **reading)
controls = arguments["controls"]
layer = Layer(
    model,
    arguments["layer"],
    class_texts(model, arguments["index"], arguments["template"], arguments["names"]),
    splits,
    groups,
    {label: Sae.load(Path(folder), device) for label, folder in arguments["saes"].items()},
    read_contrasts(Path(arguments["contrast_file"])),
    train_counts(manifest, groups),
)
settings = Settings(
    taus=tuple(threshold_grid(**arguments["thresholds"])),
    directions=tuple(arguments["directions"]),
    contrast=arguments["contrast"],
    tokens=arguments["tokens"],
    fill=arguments["fill"],
    seeds=controls["seeds"],
    mass=controls["mass"],
    grid_on_test=arguments["grid_on_test"],
    points=arguments["max_drop"],
    seed=arguments["seed"],
)
path, blocks = snakemake.output[0], Blocks(folder / "blocks", job.identity())
if "part" in arguments:
    mine = share(len(layer.kinds), arguments["part"])
    evaluate_part(layer, settings, blocks, mine)
    job.publish(path, kinds=[layer.kinds[k] for k in mine])
else:
    rows, bits = evaluate_layer(layer, settings, blocks=blocks)
    rows.insert(0, "case", arguments["case"])
    rows.insert(0, "dataset", arguments["dataset"])
    write_text(folder / "rows.csv", rows.to_csv(index=False))
    write_bits(folder / "bits.npz", bits)
    job.publish(path, rows=len(rows))
    blocks.clear()
