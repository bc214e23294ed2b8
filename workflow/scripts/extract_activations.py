"""Fill the stores of one split and block of layers, or a part of them, from one forward pass."""

from pathlib import Path

from _job import Job, check_versions

from clip_sae.architecture import ModelSource, architecture
from clip_sae.clip import load_clip
from clip_sae.datasets import read_manifest
from clip_sae.extraction import ExtractJob, extract
from clip_sae.scatter import BEGIN, share

job = Job(snakemake)
arguments, block = job.arguments, job.arguments["activations"]
part, output = arguments.get("part"), snakemake.output[0]
source = ModelSource(arguments["model"]["model"], arguments["model"]["pretrained"])
work = ExtractJob(
    manifest=read_manifest(Path(arguments["index"]), arguments["split"]),
    data_root=Path(arguments["root"]),
    stores={(s["hook"], s["layer"]): Path(s["folder"]) for s in arguments["stores"]},
    specs={(s["hook"], s["layer"]): s["record"] for s in arguments["stores"]},
    architecture=architecture(source),
    seed=block["permute_seed"],
    dtype=block["dtype"],
    chunk_mb=block["chunk_mb"],
    min_shards=block["min_shards"],
    compression=block["compression"],
    preprocess=block["preprocess"],
    exif=block["exif"],
    max_pixels=arguments["max_pixels"],
    fingerprints=job.fingerprints(),
)
for record in work.specs.values():  # also in a part, whose own record has no version
    check_versions(record)
job.hold_stores(work.stores.values(), shared=part not in (None, BEGIN))
if part == BEGIN:
    work.open_writers(rebuild=True)
    job.publish(output, ranges=work.layout.n_ranges)
else:
    if arguments.get("gathers"):
        damaged = {w.label: w.forget_damaged() for w in work.open_writers().values()}
        job.log.info("every byte of the parts was checked; to redo: %s", damaged)
    model = load_clip(source, device=job.device, precision=arguments["model"]["precision"])
    report = extract(
        model,
        work,
        batch_size=job.batch("batch_size"),
        decode_workers=job.threads,
        ranges=share(work.layout.n_ranges, part) if part else None,
    )
    job.log.info(
        "%d images at %.0f images/s; the others waited for: %s; seconds per stage: %s",
        report.images,
        report.images_per_second,
        report.bottleneck,
        {stage: round(seconds, 1) for stage, seconds in report.stage_seconds.items()},
    )
    if part:
        job.publish(output, images=report.images)
