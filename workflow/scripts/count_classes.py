"""How often each latent of one SAE is clearly active on each class of the training split."""

from pathlib import Path

from _job import Job

from clip_sae.analyses.concepts.class_counts import count_classes, write_class_counts
from clip_sae.analyses.suppression.images import StoreImages
from clip_sae.datasets import read_classes, read_manifest
from clip_sae.sae import Sae
from clip_sae.store import ActivationStore

job = Job(snakemake)
arguments, device = job.arguments, job.torch_device()
index = Path(arguments["index"])
images = StoreImages(
    ActivationStore(Path(arguments["store"])), batch_images=job.batch("batch_images")
)
found = count_classes(
    images,
    read_manifest(index)["label_idx"].to_numpy(),
    Sae.load(Path(arguments["sae"]), device),
    len(read_classes(index)),
    threshold=arguments["threshold"],
    device=device,
)
write_class_counts(Path(snakemake.output[0]), found)
job.publish(snakemake.output[0], images=len(images), alive_latents=int(found.alive.sum()))
