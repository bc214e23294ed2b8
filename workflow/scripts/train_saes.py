"""Train all SAEs of one recipe and layer in one pass over the store."""

from pathlib import Path

from _job import Job

from clip_sae.config import SAE_PLACE
from clip_sae.recipes import SaeRecipe
from clip_sae.sae.files import weights_sha256
from clip_sae.training import StoreTokens, TrainTarget, train_on_store

job = Job(snakemake)
arguments, name = job.arguments, job.arguments["recipe"]
block = {key: value for key, value in arguments["block"].items() if key not in SAE_PLACE}
recipes = dict(SaeRecipe.from_config(name, block))
fingerprints = job.fingerprints()
targets = [
    TrainTarget(
        variant=variant,
        recipe=recipes[variant],
        folder=Path(path).parent,
        metadata={
            "model_name": arguments["model"],
            "hook_name": f"{arguments['hook']}, layer {arguments['layer']}",
            "record": job.record(path),
            "fingerprints": fingerprints,
        },
    )
    for variant, path in arguments["variants"].items()
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
for variant, path in arguments["variants"].items():
    sha256 = weights_sha256(Path(path).parent)
    job.publish(path, fingerprints, variant=variant, weights_sha256=sha256)
