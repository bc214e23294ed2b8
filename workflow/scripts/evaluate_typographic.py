"""Every defence on one benchmark, or on a set without words for its clean cost."""

from pathlib import Path

import numpy as np
import pandas as pd
from _job import Job
from _typographic import chosen_units, class_names, file_name, load_model, prompts, units_of

from clip_sae.analyses.typographic.ablation import (
    ablated_embeddings,
    clean_embeddings,
    tokens_that_matter,
)
from clip_sae.analyses.typographic.choice import random_units
from clip_sae.analyses.typographic.evaluation import NONE, Defence, defence_rows
from clip_sae.analyses.typographic.heads import embeddings_without
from clip_sae.analyses.typographic.images import class_indices, read_rows
from clip_sae.analyses.typographic.responses import Responses
from clip_sae.datasets import decode_image, read_classes, read_manifest
from clip_sae.defence_prefix import load_prefix, prefixed_class_embeddings
from clip_sae.specs import write_text
from clip_sae.store import ActivationStore
from clip_sae.zeroshot import class_embeddings

job = Job(snakemake)
arguments = job.arguments
model, layer = load_model(job), arguments["layer"]
index = Path(arguments["index"])
manifest = read_manifest(index, arguments["split"])
manifest = manifest[manifest["status"] == "ok"]
label, word = class_indices(manifest, read_classes(index))
tokens = tokens_that_matter(model, layer)
x = read_rows(ActivationStore(Path(arguments["store"])), manifest.index.to_numpy(), tokens)

images = {NONE: clean_embeddings(model, x, layer)}
n_units = {NONE: 0}
for kind in ("latents", "neurons"):
    units_label, chosen = chosen_units(arguments["choice"], kind)
    units, _ = units_of(units_label, arguments["saes"], model)
    images[kind], n_units[kind] = ablated_embeddings(model, x, layer, units, chosen), len(chosen)
    if kind == "latents":
        folder = Path(arguments["folders"][units_label])
        active = Responses.load(folder / f"responses-{file_name(units_label)}.npz").active
        for i, control in enumerate(
            random_units(active, len(chosen), arguments["random_seeds"], arguments["seed"])
        ):
            images[f"random_{i}"] = ablated_embeddings(model, x, layer, units, control)
            n_units[f"random_{i}"] = len(control)
if arguments["heads"] is not None:
    ranked = pd.read_csv(arguments["heads"])
    ranked = ranked.loc[ranked["silenced"], ["layer", "head"]]
    heads = list(ranked.itertuples(index=False, name=None))
    paths = [Path(arguments["data_root"]) / path for path in manifest["path"]]
    parts = np.array_split(np.array(paths, dtype=object), max(1, -(-len(paths) // 128)))
    batches = (
        model.normalise(np.stack([decode_image(path, **arguments["decoding"]) for path in part]))
        for part in parts
    )
    images["heads"], n_units["heads"] = embeddings_without(model, batches, heads), len(heads)

names, template = class_names(str(index)), prompts(arguments["template"])
texts = {NONE: class_embeddings(model, names, template).cpu()}
for name, path in arguments["prefixes"].items():
    vector = load_prefix(Path(path))
    texts[name] = prefixed_class_embeddings(model, names, template, vector).cpu()
defences = [
    Defence("none", NONE, NONE),
    Defence("dp", "prefix", NONE),
    Defence("sae", NONE, "latents"),
    Defence("dp+sae", "prefix", "latents"),
    Defence("dp on sae+sae", "prefix_on_ablated", "latents"),
    Defence("neurons", NONE, "neurons"),
    *(Defence(name, NONE, name) for name in images if name.startswith("random_")),
]
if "heads" in images:
    defences += [Defence("heads", NONE, "heads"), Defence("dp+heads", "prefix", "heads")]
written = manifest["attr_written"].to_numpy() > 0 if "attr_written" in manifest else None
rows = defence_rows(
    images,
    texts,
    defences,
    label,
    word,
    written=written,
    protocols=arguments["protocols"],
    n_resamples=arguments["resamples"],
    seed=arguments["seed"],
)
rows.insert(0, "dataset", arguments["dataset"])
rows.insert(1, "split", arguments["split"])
rows["n_units"] = rows["image"].map(n_units)
rows["n_classes"] = len(names)
write_text(Path(snakemake.output[0]), rows.to_csv(index=False))
job.publish(snakemake.output[0], rows=len(rows))
