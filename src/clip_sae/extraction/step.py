"""Fill the stores of one split and group of layers, or a part of them, from one forward pass."""

from clip_sae.clip.model import load_clip
from clip_sae.datasets.manifest import read_manifest
from clip_sae.extraction.extract import ExtractJob, extract
from clip_sae.planning.architecture import ModelSource, architecture
from clip_sae.planning.inputs import ClipFiles, ImageFiles
from clip_sae.planning.scatter import BEGIN, share
from clip_sae.running.job import check_versions


def extract_activations(job, *, clip: ClipFiles, images: ImageFiles) -> None:
    """Write the missing ranges of the job's stores, whose records define their tokens.

    The part `begin` makes the empty stores, a part `i-of-n` fills its share of the ranges, and the
    job that gathers the parts first checks every byte of them.
    """
    stores = list(job.whole.values())
    source = ModelSource(clip.model, clip.pretrained)
    spec = stores[0].spec
    work = ExtractJob(
        manifest=read_manifest(images.index, spec["split"]),
        data_root=images.root,
        stores={(s.spec["hook"], s.spec["layer"]): s.folder for s in stores},
        specs={(s.spec["hook"], s.spec["layer"]): s.record for s in stores},
        architecture=architecture(source),
        seed=spec["permute_seed"],
        dtype=spec["dtype"],
        chunk_mb=spec["chunk_mb"],
        min_shards=spec["min_shards"],
        compression=spec.get("compression", "none"),
        preprocess=spec["preprocess"],
        exif=spec["exif"],
        max_pixels=images.decoding["max_pixels"],
        fingerprints=job.fingerprints(),
    )
    for record in work.specs.values():  # also for a part, whose own record has no version
        check_versions(record)
    job.hold_stores(work.stores.values(), shared=job.part not in (None, BEGIN))
    if job.part == BEGIN:
        work.open_writers(rebuild=True)
        job.publish(job.output, ranges=work.layout.n_ranges)
        return
    if job.gathers:
        damaged = {w.label: w.forget_damaged() for w in work.open_writers().values()}
        job.log.info("every byte of the parts was checked; ranges to redo: %s", damaged)
    report = extract(
        load_clip(source, device=job.device, precision=clip.precision),
        work,
        batch_size=job.batch("batch_size"),
        decode_workers=job.threads,
        ranges=share(work.layout.n_ranges, job.part) if job.part else None,
    )
    job.log.info(
        "%d images at %.0f images/s; the others waited for: %s; seconds per stage: %s",
        report.images,
        report.images_per_second,
        report.bottleneck,
        {stage: round(seconds, 1) for stage, seconds in report.stage_seconds.items()},
    )
    if job.part:
        job.publish(job.output, images=report.images)
