"""Rows of Tables 3 and 4 for all SAEs of one recipe and layer."""

from pathlib import Path

from _job import Job

from clip_sae.analyses.reconstruction import reconstruction_table
from clip_sae.analyses.substitution import standard_readouts
from clip_sae.architecture import ModelSource
from clip_sae.clip import load_clip
from clip_sae.datasets import read_classes, read_manifest
from clip_sae.sae import Sae
from clip_sae.specs import write_text
from clip_sae.store import ActivationStore

job = Job(snakemake)
arguments, hook = job.arguments, job.arguments["hook"]
model = load_clip(
    ModelSource(arguments["model"]["model"], arguments["model"]["pretrained"]),
    device=job.device,
    precision="float32",  # the smallest differences of Table 3 are 0.003 nats
)
stores = {name: ActivationStore(Path(path)) for name, path in arguments["stores"].items()}
index = Path(arguments["index"])
table = reconstruction_table(
    {variant: Sae.load(Path(folder)) for variant, folder in arguments["saes"].items()},
    model,
    stores["resid_post"],
    read_manifest(index)["label_idx"].to_numpy(),
    standard_readouts(model, read_classes(index)["name"].tolist(), arguments["templates"]),
    layer=arguments["layer"],
    hook=hook,
    hook_store=None if hook == "resid_post" else stores[hook],
    n_resamples=arguments["resamples"],
    seed=arguments["seed"],
)
table.insert(0, "recipe", arguments["recipe"])
sweeps = arguments["sparsity"]  # the l1_coefficient or k of each variant, to match the paper's rows
for column in ("l1_coefficient", "k"):
    table.insert(4, column, table["sae"].map(lambda v, c=column: sweeps[v][c]))
write_text(Path(snakemake.output[0]), table.to_csv(index=False))
job.publish(snakemake.output[0], rows=len(table))
