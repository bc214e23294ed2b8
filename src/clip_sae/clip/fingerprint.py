"""Record the fingerprint of CLIP weights; fetches a hub's weights if they are not cached yet."""

from clip_sae.clip.weights import model_fingerprint
from clip_sae.planning.architecture import ModelSource
from clip_sae.planning.fingerprints import file_stats


def fingerprint_model(job, *, name: str, model: str, pretrained: str | None, **_) -> None:
    """Write the fingerprint of the weights into the record, with sizes and times of local files."""
    source = ModelSource(model, pretrained)
    fingerprint = model_fingerprint(source)
    job.log.info("%s: %s", name, fingerprint)
    job.own_fingerprints[f"model:{name}"] = fingerprint
    job.facts["files"] = file_stats(source)
