"""Train all SAEs of one recipe and layer in one pass over a store, or over images."""

from collections.abc import Mapping
from pathlib import Path

from clip_sae.datasets.manifest import read_manifest
from clip_sae.planning.architecture import ModelSource, architecture
from clip_sae.planning.inputs import ClipFiles, ImageFiles
from clip_sae.planning.recipes import SaeRecipe
from clip_sae.sae.files import weights_sha256
from clip_sae.training import StoreTokens, TrainTarget, train_on_store


def train_sae(
    job,
    *,
    model: str,
    hook: str,
    layer: int,
    store: Path | None = None,
    clip: ClipFiles | None = None,
    images: ImageFiles | None = None,
) -> None:
    """Train the SAEs that the job makes; their records hold the recipes.

    Tokens come from `store`, or, for a recipe that streams, from `images` through `clip`.
    """
    fingerprints = job.fingerprints()
    targets = [
        TrainTarget(
            variant=variant,
            recipe=SaeRecipe.from_dict(made.spec["recipe"]),
            folder=made.folder,
            metadata={
                "model_name": model,
                "hook_name": f"{hook}, layer {layer}",
                "record": made.record,
                "fingerprints": fingerprints,
            },
        )
        for variant, made in job.made.items()
    ]
    first = targets[0].recipe
    shuffling = {
        "batch_tokens": first.batch_tokens,
        "seed": first.data_seed,
        "tokens": first.tokens,
    }
    threads = job.threads
    if store is None:
        tokens = _image_tokens(clip, images, job.output.spec["stream"], shuffling)
        if job.torch_device() == "cpu":
            threads = max(1, job.threads // 2)  # the other half runs CLIP
    else:
        tokens = StoreTokens(store, **shuffling)
    train_on_store(
        targets,
        tokens,
        processes=job.batch("processes"),
        device=job.device,
        threads=threads,
        checkpoint_every_steps=job.batch("checkpoint_every_steps"),
        progress=True,
        log=job.log.info,
    )
    for variant, made in job.made.items():
        job.publish(made, variant=variant, weights_sha256=weights_sha256(made.folder))


def _image_tokens(clip: ClipFiles, images: ImageFiles, spec: Mapping, shuffling: Mapping):
    """Return the tokens that extraction would store, shuffled as a store's are."""
    # loads CLIP's code, which training from a store does without
    from clip_sae.extraction.job import ExtractJob
    from clip_sae.extraction.live_tokens import ImageTokens

    source = ModelSource(clip.model, clip.pretrained)
    work = ExtractJob(
        manifest=read_manifest(images.index, spec["split"]),
        data_root=images.root,
        stores={},
        specs={},
        architecture=architecture(source),
        seed=spec["permute_seed"],
        dtype=spec["dtype"],
        chunk_mb=spec["chunk_mb"],
        min_shards=spec["min_shards"],
        preprocess=spec["preprocess"],
        exif=spec["exif"],
        max_pixels=images.decoding["max_pixels"],
    )
    where = (spec["hook"], spec["layer"])
    return ImageTokens(source, clip.precision, work, where, **shuffling)
