"""Delete the data of a store that nothing waits for any more, and write down that it is gone."""

from pathlib import Path

from _job import Job

from clip_sae.dropping import drop_store
from clip_sae.specs import write_json

job = Job(snakemake)
store = Path(job.arguments["store"])
freed = drop_store(store)
write_json(Path(job.arguments["marker"]), {"store": str(store), "bytes_freed": freed})
job.log.info("%s is deleted: %.1f MB are free", store, freed / 1e6)
