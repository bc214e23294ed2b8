"""Embed the images of a split by the CLIP that latents are judged by."""

from pathlib import Path

from _job import Job

from clip_sae.analyses.quality.embeddings import embed_images, write_embeddings
from clip_sae.architecture import ModelSource
from clip_sae.clip import load_clip
from clip_sae.datasets import read_manifest

job = Job(snakemake)
arguments = job.arguments
manifest = read_manifest(Path(arguments["index"]), arguments["split"])
manifest = manifest[manifest["status"] == "ok"]
encoder = arguments["encoder"]
model = load_clip(
    ModelSource(encoder["model"], encoder["pretrained"]), device=job.device, precision="float32"
)
found = embed_images(
    model,
    manifest,
    Path(arguments["root"]),
    decoding=arguments["decoding"],
    batch_images=job.batch("batch_images"),
    workers=max(1, job.threads),
)
complete = Path(snakemake.output[0])
write_embeddings(complete.parent / "embeddings.npz", manifest.index.to_numpy(), found)
job.publish(str(complete), images=len(found))
