"""One row per data set: images per split, classes, skipped images."""

from pathlib import Path

import pandas as pd
from _job import Job

from clip_sae.specs import read_json, write_text

job = Job(snakemake)
rows = []
for name, path in job.arguments["datasets"].items():
    summary = read_json(Path(path))["summary"]
    splits = {f"n_{split}": summary["splits"].get(split, 0) for split in ("train", "val", "test")}
    kept = {key: summary[key] for key in ("kind", "n_images", "n_classes", "n_skipped")}
    rows.append({"dataset": name, **kept, **splits})
    if summary["n_skipped"]:
        job.log.warning("%s: %d images skipped, e.g. %s", name, summary["n_skipped"],
                        "; ".join(summary["skipped"][:3]))  # fmt: skip
write_text(Path(snakemake.output[0]), pd.DataFrame(rows).to_csv(index=False))
job.publish(snakemake.output[0])
