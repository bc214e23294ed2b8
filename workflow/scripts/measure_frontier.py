"""Quality and L0 of all SAEs of one recipe of the frontier, on all tokens of held-out images."""

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

# A CSV of points: the remaining columns of the reconstruction analysis are those of the tables.
COLUMNS = [
    *("layer", "hook", "n_images", "n_tokens", "d_sae", "alive_latents"),
    *("l0", "l0_low", "l0_high"),
    *("explained_variance", "explained_variance_low", "explained_variance_high"),
    *("ce_recovered", "ce_recovered_low", "ce_recovered_high"),
    *("ce", "recon_ce", "zero_ce", "embedding_cosine"),
]

job = Job(snakemake)
arguments, hook = job.arguments, job.arguments["hook"]
model = load_clip(
    ModelSource(arguments["model"]["model"], arguments["model"]["pretrained"]),
    device=job.device,
    precision="float32",
)
stores = {name: ActivationStore(Path(path)) for name, path in arguments["stores"].items()}
index = Path(arguments["index"])
names = read_classes(index)["name"].tolist()
table = reconstruction_table(
    {variant: Sae.load(Path(sae["folder"])) for variant, sae in arguments["saes"].items()},
    model,
    stores["resid_post"],
    read_manifest(index)["label_idx"].to_numpy(),
    standard_readouts(model, names, arguments["templates"])[:1],  # the headline
    layer=arguments["layer"],
    hook=hook,
    hook_store=None if hook == "resid_post" else stores[hook],
    subsets=["all"],
    n_resamples=arguments["resamples"],
    seed=arguments["seed"],
)
what = [arguments["saes"][variant] for variant in table["sae"]]
table = table[COLUMNS].assign(alive_fraction=table["alive_latents"] / table["d_sae"])
for position, name in enumerate(("architecture", "decoder_norm", "knob", "knob_value", "seed")):
    table.insert(position, name, [sae[name] for sae in what])
table.insert(0, "recipe", arguments["recipe"])
write_text(Path(snakemake.output[0]), table.to_csv(index=False))
job.publish(snakemake.output[0], rows=len(table))
