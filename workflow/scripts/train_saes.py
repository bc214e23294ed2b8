"""Train all SAEs of one recipe and layer in one pass over a store, or over images."""

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
shuffling = {
    "batch_tokens": first.batch_tokens,
    "seed": first.data_seed,
    "tokens": first.tokens,
}
threads = job.threads
if "images" in arguments:
    from _live import image_tokens  # loads CLIP's code, which training from a store does without

    tokens = image_tokens(arguments["images"], **shuffling)
    if job.torch_device() == "cpu":
        threads = max(1, job.threads // 2)  # the others run CLIP meanwhile
else:
    tokens = StoreTokens(Path(arguments["store"]), **shuffling)
train_on_store(
    targets,
    tokens,
    processes=snakemake.resources.processes,
    device=job.device,
    threads=threads,
    checkpoint_every_steps=snakemake.resources.checkpoint_every_steps,
    progress=True,
    log=job.log.info,
)
for variant, sae in arguments["saes"].items():
    sha256 = weights_sha256(Path(sae["path"]).parent)
    job.publish(sae["path"], fingerprints, variant=variant, weights_sha256=sha256)
