"""Embed the images of a split by the CLIP that latents are judged by."""

from clip_sae.analyses.quality.embeddings import image_embeddings, write_embeddings
from clip_sae.analyses.shared.models import load_model
from clip_sae.datasets.manifest import read_manifest
from clip_sae.planning.inputs import ClipFiles, ImageFiles


def embed_images(job, *, clip: ClipFiles, images: ImageFiles, split: str) -> None:
    """Write embeddings.npz: [image] manifest rows and [image, d_embed] unit vectors."""
    manifest = read_manifest(images.index, split)
    manifest = manifest[manifest["status"] == "ok"]
    found = image_embeddings(
        load_model(job, clip),
        images,
        manifest,
        batch_images=job.batch("batch_images"),
        workers=max(1, job.threads),
    )
    write_embeddings(job.folder / "embeddings.npz", manifest.index.to_numpy(), found)
    job.facts["images"] = len(found)
