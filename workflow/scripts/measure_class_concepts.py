"""Accuracy with only, and without, the strongest latents of each image's class."""

from pathlib import Path

from _job import Job
from _suppression import load_model

from clip_sae.analyses.concepts.class_answers import answer_with_classes, size_grid
from clip_sae.analyses.concepts.class_counts import read_class_counts
from clip_sae.analyses.concepts.class_sets import class_orders
from clip_sae.analyses.concepts.class_table import class_table
from clip_sae.analyses.suppression.answers import reaches_output
from clip_sae.analyses.suppression.images import StoreImages
from clip_sae.datasets import read_classes, read_manifest
from clip_sae.sae import Sae
from clip_sae.specs import write_text
from clip_sae.store import ActivationStore
from clip_sae.zeroshot import class_embeddings

job = Job(snakemake)
arguments, model = job.arguments, load_model(job)
index, layer = Path(arguments["index"]), arguments["layer"]
names = read_classes(index)["name"].tolist()
sae = Sae.load(Path(arguments["sae"]), model.device)
answers = answer_with_classes(
    model,
    layer,
    class_embeddings(model, names, arguments["templates"]),
    StoreImages(
        ActivationStore(Path(arguments["store"])),
        tokens=reaches_output(model, layer),
        batch_images=job.batch("batch_images"),
    ),
    read_manifest(index)["label_idx"].to_numpy(),
    sae,
    class_orders(
        read_class_counts(Path(arguments["counts"])),
        seeds=arguments["random_seeds"],
        seed=arguments["seed"],
    ),
    size_grid(arguments["sizes"], sae.d_sae),
)
table = class_table(answers, names, n_resamples=arguments["resamples"], seed=arguments["seed"])
write_text(Path(snakemake.output[0]), table.to_csv(index=False))
job.publish(snakemake.output[0], rows=len(table), clean_accuracy=float(answers.clean.mean()))
