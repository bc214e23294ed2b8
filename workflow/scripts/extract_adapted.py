"""Fill the stores of one adapted model: residuals of the test images, prompts as a third array."""

from pathlib import Path

from _adaptation import load_adapted, load_model
from _job import Job

from clip_sae.datasets import read_manifest
from clip_sae.extraction import ExtractJob, extract

job = Job(snakemake)
arguments, block = job.arguments, job.arguments["activations"]
model = load_model(job)
adapted = load_adapted(model, arguments["method"])[arguments["seed"]]
decoding = {key: arguments["decoding"][key] for key in ("preprocess", "exif", "max_pixels")}
keys = {("resid_post", int(layer)): path for layer, path in arguments["stores"].items()}
report = extract(
    adapted,
    ExtractJob(
        manifest=read_manifest(Path(arguments["index"]), arguments["split"]),
        data_root=Path(arguments["data_root"]),
        stores={key: Path(path).parent for key, path in keys.items()},
        specs={key: job.record(path) for key, path in keys.items()},
        architecture=model.architecture,
        n_prompts=adapted.n_prompts,
        seed=block["permute_seed"],
        dtype=block["dtype"],
        chunk_mb=block["chunk_mb"],
        min_shards=block["min_shards"],
        compression=block["compression"],
        fingerprints=job.fingerprints(),
        **decoding,
    ),
    batch_size=job.batch("batch_size"),
    decode_workers=job.threads,
)
job.log.info("%d images at %.0f images/s", report.images, report.images_per_second)
