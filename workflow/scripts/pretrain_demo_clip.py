"""Train the demo CLIP from nothing and measure it for its card; resumes where it was killed."""

import shutil
import tempfile
from pathlib import Path

from _job import Job

from clip_sae.demo import card
from clip_sae.demo.pretrain import pretrain

job = Job(snakemake)
folder = Path(snakemake.output[0]).parent
# Trained beside the outputs: Snakemake clears those before it starts a job again.
work = folder.with_name(folder.name + ".training")
pretrain(work, seed=job.arguments["seed"], threads=job.threads)
with tempfile.TemporaryDirectory() as sets:
    card.write_test_sets(Path(sets), seed=card.WORLD_SEED, workers=job.threads)
    card.write_card(work, card.measure(work, card.read_test_sets(Path(sets))))
for path in map(Path, snakemake.output):
    shutil.copy(work / path.name, path)
