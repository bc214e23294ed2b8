"""Train all SAEs of one recipe and layer in one pass over the store."""

from pathlib import Path

from _job import Job

from clip_sae.recipes import SaeRecipe
from clip_sae.sae.files import weights_sha256
from clip_sae.training import StoreTokens, TrainTarget, train_on_store

job = Job(snakemake)
arguments = job.arguments
fingerprints = job.fingerprints()
targets = [
    TrainTarget(
        variant=variant,
        recipe=SaeRecipe.from_dict(sae["recipe"]),
        folder=Path(sae["path"]).parent,
        metadata={
            "model_name": arguments["model"],
            "hook_name": f"{arguments['hook']}, layer {arguments['layer']}",
            "record": job.record(sae["path"]),
            "fingerprints": fingerprints,
        },
    )
    for variant, sae in arguments["saes"].items()
]
first = targets[0].recipe
train_on_store(
    targets,
    StoreTokens(
        Path(arguments["store"]), first.batch_tokens, seed=first.data_seed, tokens=first.tokens
    ),
    processes=snakemake.resources.processes,
    device=job.device,
    threads=job.threads,
    checkpoint_every_steps=snakemake.resources.checkpoint_every_steps,
    progress=True,
    log=job.log.info,
)
for variant, sae in arguments["saes"].items():
    sha256 = weights_sha256(Path(sae["path"]).parent)
    job.publish(sae["path"], fingerprints, variant=variant, weights_sha256=sha256)
