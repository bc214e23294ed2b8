"""Group means of every latent and every neuron at one layer of one data set (Eq. 9)."""

from pathlib import Path

from _job import Job

from clip_sae.analyses.suppression.ablation import Latents, Neurons
from clip_sae.analyses.suppression.contrast import write_contrasts
from clip_sae.analyses.suppression.contrast_pass import measure_contrasts
from clip_sae.analyses.suppression.groups import read_groups
from clip_sae.analyses.suppression.images import StoreImages
from clip_sae.datasets import read_manifest
from clip_sae.sae import Sae
from clip_sae.store import ActivationStore

job = Job(snakemake)
arguments, device = job.arguments, job.torch_device()
groups = read_groups(read_manifest(Path(arguments["index"])), arguments["attribute"])
facts = {}
if arguments["attribute_from"] == "prompts":
    from _suppression import guessed_groups  # it loads CLIP, which labels do without

    groups, facts["guessed_right"] = guessed_groups(job, groups)
images = StoreImages(
    ActivationStore(Path(arguments["store"])),
    tokens=arguments["tokens_read"],
    batch_images=job.batch("batch_images"),
)
saes = {label: Sae.load(Path(folder), device) for label, folder in arguments["saes"].items()}
units = {label: Latents(sae) for label, sae in saes.items()}
units["neurons"] = Neurons(images.store.d_model)
contrasts = measure_contrasts(images, groups, units, device=device)
write_contrasts(Path(snakemake.output[0]), contrasts)
job.publish(snakemake.output[0], images=len(images), **facts)
