"""Record what identifies the CLIP weights; fetches a hub's weights if they are not cached yet."""

from _job import Job

from clip_sae.architecture import ModelSource
from clip_sae.clip_weights import model_fingerprint
from clip_sae.fingerprints import file_stats

job = Job(snakemake)
block = job.arguments["model"]
source = ModelSource(block["model"], block["pretrained"])
fingerprint = model_fingerprint(source)
job.log.info("%s: %s", block["name"], fingerprint)
job.publish(
    snakemake.output[0],
    fingerprints={f"model:{block['name']}": fingerprint},
    files=file_stats(source),
)
