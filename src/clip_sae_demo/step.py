"""Train the demo CLIP from nothing and measure it for its card; resumes where it was killed."""

import shutil
import tempfile
from pathlib import Path

from clip_sae.planning.sources import DEMO_CLIP_FILES
from clip_sae_demo import card
from clip_sae_demo.pretrain import pretrain


def demo_clip(job, *, seed: int) -> None:
    """Write an open_clip local-dir with its card; the training itself lies next to the folder."""
    # Snakemake removes a job's outputs before it starts the job again.
    work = job.folder.with_name(job.folder.name + ".training")
    pretrain(work, seed=seed, threads=job.threads)
    with tempfile.TemporaryDirectory() as sets:
        card.write_test_sets(Path(sets), seed=card.WORLD_SEED, workers=job.threads)
        card.write_card(work, card.measure(work, card.read_test_sets(Path(sets))))
    for name in DEMO_CLIP_FILES:
        shutil.copy(work / name, job.folder / name)
