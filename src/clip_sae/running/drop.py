"""Delete the data of a store once all that reads it is made, and write down that it is gone."""

from pathlib import Path

from clip_sae.planning.dropping import drop_store
from clip_sae.planning.specs import write_json


def drop(job, *, store: str) -> None:
    """Delete the store's folder; the marker records how many bytes that freed."""
    freed = drop_store(Path(store))
    write_json(job.output.path, {"store": store, "bytes_freed": freed})
    job.log.info("%s is deleted: %.1f MB are free", store, freed / 1e6)
