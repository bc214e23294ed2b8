"""Train a Defence-Prefix on the training pairs, as they are or with the chosen latents at zero."""

from pathlib import Path

import pandas as pd
from _job import Job
from _typographic import chosen_units, class_names, load_model, pairs_of, prompts, units_of

from clip_sae.analyses.typographic.ablation import ablated_embeddings, clean_embeddings
from clip_sae.defence_prefix import PrefixSettings, save_prefix, train_prefix
from clip_sae.specs import write_text

job = Job(snakemake)
arguments = job.arguments
model, layer = load_model(job), arguments["layer"]
pairs = pairs_of(job, model, "train")
sides = {"clean": pairs.clean, "attacked": pairs.attacked}
if arguments["name"] == "prefix_on_ablated":
    label, chosen = chosen_units(arguments["choice"], "latents")
    units, _ = units_of(label, arguments["saes"], model)
    features = {s: ablated_embeddings(model, x, layer, units, chosen) for s, x in sides.items()}
else:
    features = {side: clean_embeddings(model, x, layer) for side, x in sides.items()}
trained = train_prefix(
    model,
    *(features[side] for side in ("clean", "attacked")),
    pairs.label,
    class_names(arguments["pairs_index"]),
    prompts(arguments["templates"]),
    PrefixSettings(**arguments["prefix"]),
    log=job.log.info,
)
folder = Path(snakemake.output[0]).parent
save_prefix(folder / "prefix.safetensors", trained.vector, {"model": arguments["model"]["name"]})
losses = pd.DataFrame(trained.losses, columns=["defence", "identity"])
losses.insert(0, "epoch", range(1, len(losses) + 1))
write_text(folder / "losses.csv", losses.to_csv(index=False))
job.publish(snakemake.output[0], pairs=len(pairs.label))
