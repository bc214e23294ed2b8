"""Fill the stores of one adapted model: residuals of the test images, prompts as a third array."""

from collections.abc import Mapping

from clip_sae.analyses.shared.adapted import load_adapted
from clip_sae.analyses.shared.models import load_model
from clip_sae.datasets.manifest import read_manifest
from clip_sae.extraction.extract import ExtractJob, extract
from clip_sae.planning.inputs import ClipFiles, ImageFiles


def extract_adapted(job, *, clip: ClipFiles, images: ImageFiles, adapted: Mapping) -> None:
    """Write the stores that the job makes, one for each layer.

    The stores' records say which tokens they hold; `adapted` is one model, see `load_adapted`.
    """
    stores = list(job.made.values())
    spec = stores[0].spec
    model = load_model(job, clip)
    [one] = load_adapted(model, adapted).values()
    report = extract(
        one,
        ExtractJob(
            manifest=read_manifest(images.index, spec["split"]),
            data_root=images.root,
            stores={(s.spec["hook"], s.spec["layer"]): s.folder for s in stores},
            specs={(s.spec["hook"], s.spec["layer"]): s.record for s in stores},
            architecture=model.architecture,
            n_prompts=one.n_prompts,
            seed=spec["permute_seed"],
            dtype=spec["dtype"],
            chunk_mb=spec["chunk_mb"],
            min_shards=spec["min_shards"],
            compression=spec["compression"],
            fingerprints=job.fingerprints(),
            **{key: images.decoding[key] for key in ("preprocess", "exif", "max_pixels")},
        ),
        batch_size=job.batch("batch_size"),
        decode_workers=job.threads,
    )
    job.log.info("%d images at %.0f images/s", report.images, report.images_per_second)
