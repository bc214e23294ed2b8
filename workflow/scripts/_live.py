"""Tokens of a recipe that streams, from the arguments of its training job."""

from pathlib import Path

from clip_sae.architecture import ModelSource, architecture
from clip_sae.datasets import read_manifest
from clip_sae.extraction_job import ExtractJob
from clip_sae.live_tokens import ImageTokens


def image_tokens(images: dict, **shuffling: object) -> ImageTokens:
    """The tokens that extraction would store, shuffled as a store's are."""
    spec, block = images["tokens"], images["model"]
    model = ModelSource(block["model"], block["pretrained"])
    job = ExtractJob(
        manifest=read_manifest(Path(images["index"]), spec["split"]),
        data_root=Path(images["root"]),
        stores={},
        specs={},
        architecture=architecture(model),
        seed=spec["permute_seed"],
        dtype=spec["dtype"],
        chunk_mb=spec["chunk_mb"],
        min_shards=spec["min_shards"],
        preprocess=spec["preprocess"],
        exif=spec["exif"],
        max_pixels=images["max_pixels"],
    )
    return ImageTokens(model, block["precision"], job, (spec["hook"], spec["layer"]), **shuffling)
