"""Fig. 3: an image and its attacked twin, with the most probable classes before and after."""

from pathlib import Path

import numpy as np
from _job import Job
from _pictured import class_probabilities, pictured
from _typographic import class_names, load_model, prompts

from clip_sae.analyses.pictures import example_image, example_row, top_classes
from clip_sae.analyses.suppression.ablation import Latents
from clip_sae.analyses.typographic.ablation import (
    ablated_embeddings,
    clean_embeddings,
    tokens_that_matter,
)
from clip_sae.analyses.typographic.images import class_indices, read_rows
from clip_sae.datasets import pair_rows, read_classes, read_manifest
from clip_sae.sae import Sae
from clip_sae.specs import write_json
from clip_sae.store import ActivationStore
from clip_sae.zeroshot import class_embeddings

job = Job(snakemake)
arguments = job.arguments
found, example = pictured(arguments), None
if found is not None:
    model, layer = load_model(job), int(found.layer)
    store = ActivationStore(Path(arguments["stores"][found.layer]))
    manifest, index = read_manifest(Path(arguments["index"])), arguments["index"]
    manifest = manifest.loc[np.sort(np.asarray(store.source_index))]
    pairs = pair_rows(manifest)
    if arguments["example"] is not None:
        asked = example_row(manifest, arguments["example"], pairs["attacked"].to_numpy())
        pairs = pairs[pairs["attacked"].isin(asked)]
    label, word = class_indices(manifest.loc[pairs["attacked"]], read_classes(Path(index)))
    text = class_embeddings(model, class_names(index), prompts(arguments["template"]))
    units = Latents(Sae.load(Path(arguments["saes"][found.layer][found.label]), model.device))
    chosen, tokens = found.chosen["latent"], tokens_that_matter(model, layer)
    answers = {}
    for side in ("clean", "attacked"):
        x = read_rows(store, pairs[side].to_numpy(), tokens)
        embeddings = {
            "before": clean_embeddings(model, x, layer),
            "after": ablated_embeddings(model, x, layer, units, chosen),
        }
        for when, found_here in embeddings.items():
            answers[side, when] = class_probabilities(found_here, text, model.logit_scale)
    # An attack that works well, on an image that is known without it.
    pair = np.arange(len(word)), word
    known = answers["clean", "before"].argmax(1) == label
    allowed = known & (answers["attacked", "before"][pair] > 0.5)
    before, after = answers["attacked", "before"], answers["attacked", "after"]
    shown = example_image(before, after, label, allowed if allowed.any() else None)
    names = class_names(index)
    example = {
        "rows": {side: int(pairs[side].iloc[shown]) for side in ("clean", "attacked")},
        "path": pairs["path"].iloc[shown],
        "true": names[label[shown]],
        "written": names[word[shown]],
        "layer": layer,
        "units": found.label,
        "condition": found.condition,
        "n_units": len(chosen),
        "n_all": units.n_units,
        "answers": {
            side: {
                when: top_classes(answers[side, when][shown], names, arguments["classes"])
                for when in ("before", "after")
            }
            for side in ("clean", "attacked")
        },
    }
else:
    job.log.warning("%s: the chosen set is empty, so there is no example.", arguments["dataset"])
about = {"dataset": arguments["dataset"], "example": example}
write_json(Path(snakemake.output[0]), about)
job.publish(snakemake.output[0])
