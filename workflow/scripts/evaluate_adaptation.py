"""What the models of one method, one per seed, answer on all test images."""

from pathlib import Path

import pandas as pd
import torch
from _adaptation import class_names, load_adapted, load_model, pixels_of, usable
from _job import Job

from clip_sae.adaptation.few_shot import ClassHalves
from clip_sae.adaptation.training import embed_in_batches
from clip_sae.analyses.adaptation.base_to_novel import answers
from clip_sae.specs import write_text

READ = 1024  # images whose pixels are in memory at once

job = Job(snakemake)
arguments = job.arguments
model = load_model(job)
names = class_names(arguments["index"])
is_novel = ClassHalves(len(names)).novel_classes
manifest = usable(arguments["index"], arguments["split"])
adapted = load_adapted(model, arguments["method"])
with torch.no_grad():
    told = {seed: one.class_embeddings(names) for seed, one in adapted.items()}
tables = []
for start in range(0, len(manifest), READ):
    rows = manifest.iloc[start : start + READ]
    pixels = pixels_of(rows, arguments["data_root"], arguments["decoding"])
    for seed, one in adapted.items():
        similarity = (embed_in_batches(one, pixels) @ told[seed].T).cpu().numpy()
        table = answers(similarity, rows["label_idx"].to_numpy(), is_novel)
        table.insert(0, "image", rows.index)
        table.insert(0, "seed", seed)
        tables.append(table)
table = pd.concat(tables, ignore_index=True).sort_values(["seed", "image"], kind="stable")
write_text(Path(snakemake.output[0]), table.to_csv(index=False))
job.publish(snakemake.output[0], n_images=len(manifest))
