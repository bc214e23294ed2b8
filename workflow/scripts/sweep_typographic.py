"""Of one kind of unit: its gaps on training pairs, and every tau and lambda on validation pairs."""

from pathlib import Path

import numpy as np
import pandas as pd
from _job import Job
from _typographic import class_names, file_name, load_model, pairs_of, prompts, units_of

from clip_sae.analyses.typographic.candidates import candidates, nearest_cosines, tau_grid
from clip_sae.analyses.typographic.responses import measure_responses
from clip_sae.analyses.typographic.sweep import sweep_table
from clip_sae.specs import write_text
from clip_sae.zeroshot import class_embeddings

job = Job(snakemake)
arguments = job.arguments
model, layer = load_model(job), arguments["layer"]
train, validation = (pairs_of(job, model, split) for split in ("train", "val"))
names = class_names(arguments["pairs_index"])
text = class_embeddings(model, names, prompts(arguments["template"]))
grid = arguments["thresholds"]
taus = tau_grid(grid["low"], grid["high"], grid["n"])
complete = Path(snakemake.output[0])
complete.parent.mkdir(parents=True, exist_ok=True)
tables = []
for label in arguments["labels"]:
    units, directions = units_of(label, arguments["saes"], model)
    responses = measure_responses(units, train.clean, train.attacked, device=model.device)
    responses.save(complete.parent / f"responses-{file_name(label)}.npz")
    np.savez_compressed(
        complete.parent / f"cosines-{file_name(label)}.npz",
        taus=taus,
        nearest=nearest_cosines(responses.gap, directions, taus),
    )
    # A coordinate is orthogonal to all others, so that no cosine can join one.
    lams = arguments["cosines"] if label in arguments["saes"] else [max(arguments["cosines"])]
    chains = candidates(responses.gap, directions, taus, lams)
    table = sweep_table(model, validation, layer, units, chains, text)
    tables.append(table.assign(kind=arguments["kind"], label=label))
    job.log.info("%s: largest gap %.3g", label, responses.gap.max())
sweep = pd.concat(tables, ignore_index=True)
sweep = sweep[["kind", "label", *sweep.columns.drop(["kind", "label"])]]
write_text(complete.parent / "sweep.csv", sweep.to_csv(index=False))
job.publish(str(complete), rows=len(sweep))
