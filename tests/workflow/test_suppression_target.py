"""The suppression tables as targets: one command, and no stale table after an edit."""

import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from small_project import Project

TABLE = "results/table7.md"
PER_GROUP = {"train": 3, "val": 2, "test": 2}


def write_birds(root) -> None:
    """Make a set in the Waterbirds layout: two classes on two backgrounds, in three splits."""
    rng = np.random.default_rng(1)
    rows = []
    for split, (name, n) in enumerate(PER_GROUP.items()):
        for y in (0, 1):
            for place in (0, 1):
                for i in range(n):
                    path = f"{y + 1:03d}.Bird{y}/{name}-{place}-{i}.png"
                    (root / path).parent.mkdir(parents=True, exist_ok=True)
                    pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                    Image.fromarray(pixels).save(root / path)
                    rows.append((len(rows) + 1, path, y, split, place))
    columns = ["img_id", "img_filename", "y", "split", "place"]
    pd.DataFrame(rows, columns=columns).to_csv(root / "metadata.csv", index=False)


@pytest.fixture
def birds(project: Project) -> Project:
    """The built project with a small Waterbirds set whose background is suppressed."""
    write_birds(project.path / "birds")
    config = project.config
    config["datasets"]["birds"] = {
        "kind": "waterbirds",
        "root": "birds",
        "options": {"expect": None},
    }
    config["analyses"]["suppression"] = {
        "thresholds": {"low": 1.0e-3, "high": 1.0, "n": 3},
        "sets": {
            "birds": {
                "attribute": "water",
                "recipes": {"topk_64": "topk_resid"},
                "directions": ["both"],
                "tables": ["table7", "table8"],
            }
        },
    }
    project.write_config(config)
    return project


def test_the_table_follows_every_edit_and_a_second_run_does_nothing(birds: Project):
    birds.run("--cores", "2", TABLE)
    assert birds.planned(TABLE) == set()
    assert len(pd.read_csv(birds.path / "results/table7.csv"))
    whole = (birds.path / TABLE).read_bytes()
    shutil.rmtree(birds.path / "results/measurements/suppression")
    for made in birds.path.glob("results/table[78].*"):
        made.unlink()
    birds.run("--cores", "2", TABLE, "--set-scatter", "units=2")
    assert (birds.path / TABLE).read_bytes() == whole and birds.planned(TABLE) == set()

    # The table is made from a file whose path holds a digest: after an edit that one is missing
    # and the table is stale.
    birds.edit_config("analyses.suppression.thresholds.n", 4)
    planned = birds.planned("results/table7.csv")
    assert any(job.startswith("choose_suppression") for job in planned)
    birds.run("--cores", "2", "results/table7.csv")
    assert birds.planned("results/table7.csv") == set()
