"""Fill the stores of one split and block of layers from one forward pass per image."""

from pathlib import Path

from _job import Job

from clip_sae.architecture import ModelSource
from clip_sae.clip import load_clip
from clip_sae.datasets import read_manifest
from clip_sae.extraction import ExtractJob, extract

job = Job(snakemake)
arguments, block = job.arguments, job.arguments["activations"]
model = load_clip(
    ModelSource(arguments["model"]["model"], arguments["model"]["pretrained"]),
    device=job.device,
    precision=arguments["model"]["precision"],
)
folders = {(s["hook"], s["layer"]): Path(s["path"]).parent for s in arguments["stores"]}
records = {(s["hook"], s["layer"]): job.record(s["path"]) for s in arguments["stores"]}
report = extract(
    model,
    ExtractJob(
        manifest=read_manifest(Path(arguments["index"]), arguments["split"]),
        data_root=Path(arguments["root"]),
        stores=folders,
        specs=records,
        architecture=model.architecture,
        seed=block["permute_seed"],
        dtype=block["dtype"],
        chunk_mb=block["chunk_mb"],
        min_shards=block["min_shards"],
        compression=block["compression"],
        preprocess=block["preprocess"],
        exif=block["exif"],
        max_pixels=arguments["max_pixels"],
        fingerprints=job.fingerprints(),
    ),
    batch_size=snakemake.resources.batch_size,
    decode_workers=job.threads,
)
job.log.info(
    "%d images at %.0f images/s; the others waited for: %s; seconds per stage: %s",
    report.images,
    report.images_per_second,
    report.bottleneck,
    {stage: round(seconds, 1) for stage, seconds in report.stage_seconds.items()},
)
