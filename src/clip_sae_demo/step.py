"""The jobs of the demo: draw a set of its world, and train its CLIP from nothing."""

import shutil
import tempfile
from pathlib import Path

from clip_sae_demo.plugin import DEMO_CLIP_FILES
from clip_sae_demo.sets import write_set


def draw_world(job, *, world: str, seed: int, n_train: int, n_val: int, n_test: int) -> None:
    """Draw one set of the demo world in the layout of the real set that it stands for."""
    counts = {"n_train": n_train, "n_val": n_val, "n_test": n_test}
    write_set(world, job.folder, seed=seed, **counts, workers=job.threads)


def demo_clip(job, *, seed: int) -> None:
    """Write an open_clip local-dir with its card; a killed job goes on from its checkpoint."""
    from clip_sae_demo import card  # torch, which drawing does without
    from clip_sae_demo.pretrain import pretrain

    # Snakemake removes a job's outputs before it starts the job again, so the training lies next
    # to the folder.
    work = job.folder.with_name(job.folder.name + ".training")
    pretrain(work, seed=seed, threads=job.threads)
    with tempfile.TemporaryDirectory() as sets:
        card.write_test_sets(Path(sets), seed=card.WORLD_SEED, workers=job.threads)
        card.write_card(work, card.measure(work, card.read_test_sets(Path(sets))))
    for name in DEMO_CLIP_FILES:
        shutil.copy(work / name, job.folder / name)
