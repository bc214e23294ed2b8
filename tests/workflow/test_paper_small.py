"""Every rule on the paper's geometry: ViT-B/32 with random weights, 64 images (marked slow)."""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from small_project import ROOT, Project

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Project:
    path = tmp_path_factory.mktemp("paper") / "project"
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("workflow", "src", "profiles", "envs"):
        shutil.copytree(ROOT / name, path / name, ignore=ignore)
    shutil.copy(ROOT / "Snakefile", path)
    shutil.copy(ROOT / "tests/paper_small.yaml", path / "config.yaml")
    write_photographs(path / "images")
    return Project(path)


def write_photographs(root: Path) -> None:
    """64 JPEGs of photograph-like sizes in ImageNet's folders: 32 train, 16 val, 16 test."""
    rng = np.random.default_rng(0)
    for split, n in (("train", 8), ("val", 4), ("test", 4)):
        for name in ("dog", "cat", "car", "cup"):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(n):
                height, width = rng.integers(200, 400, 2)
                coarse = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
                image.save(folder / f"{name}_{i:03d}.jpg")


def test_every_rule_runs_and_a_second_run_has_nothing_to_do(small: Project):
    small.run("--cores", "2", "all", "extended")
    assert small.planned("all", "extended") == set()
    results = small.path / "results-small"
    table3 = pd.read_csv(results / "table3.csv")
    assert set(table3["l1_coefficient"]) == {1.0e-4, 1.0e-5}
    assert (table3["n_images"] == 16).all()
    table4 = pd.read_csv(results / "table4.csv")
    assert (table4["l0"] <= 64).all()
    tokens = pd.read_csv(results / "l0_tokens.csv")
    assert len(tokens) == 2 * 50  # two layers of 49 patches and CLS
    assert pd.read_csv(results / "sweep.csv")["chosen"].sum() == 1
    frontier = pd.read_csv(results / "frontier.csv")
    assert len(frontier) == 3 + 3 * 2 and frontier["explained_variance"].notna().all()
    steered = pd.read_csv(results / "steerability_baselines_layers.csv")
    kinds = {"latent", "neuron", "neuron_equal_push", "random", "pca", "random_sae"}
    assert set(steered.kind) == kinds and set(steered.layer) == {0, 11}
    latents = steered[(steered.kind == "latent") & (steered.quantity == "mean_steerability")]
    assert (latents.n_sampled_from == 1536).all() and latents.value.between(0, 2).all()
    assert re.search(r"paper", (results / "table3.md").read_text())
