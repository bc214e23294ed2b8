"""Every rule on the paper's geometry: ViT-B/32 with random weights, 64 images (marked slow)."""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from small_project import ROOT, Project

from clip_sae.store import ActivationStore

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Project:
    path = tmp_path_factory.mktemp("paper") / "project"
    lay_out(path)
    return Project(path, timeout=1800)  # minutes on an idle machine


def lay_out(path: Path) -> None:
    """The workflow, `tests/paper_small.yaml` and its images in a new folder."""
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("workflow", "src", "profiles", "envs"):
        shutil.copytree(ROOT / name, path / name, ignore=ignore)
    shutil.copy(ROOT / "Snakefile", path)
    shutil.copy(ROOT / "tests/paper_small.yaml", path / "config.yaml")
    write_photographs(path / "images")
    write_birds(path / "birds")


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


def write_birds(root: Path) -> None:
    """48 JPEGs in the layout of Waterbirds: four of each group in every split."""
    rng = np.random.default_rng(1)
    root.mkdir()
    lines = ["img_id,img_filename,y,split,place,place_filename"]
    for i in range(48):
        y, place, split = i % 2, i // 2 % 2, i // 4 % 3
        colour = np.array([60 + 100 * y, 80, 60 + 120 * place])
        pixels = rng.integers(0, 60, (224, 224, 3)) + colour
        name = f"bird_{i:03d}.jpg"
        Image.fromarray(pixels.astype(np.uint8)).save(root / name)
        lines.append(f"{i + 1},{name},{y},{split},{place},/x/{place}.jpg")
    (root / "metadata.csv").write_text("\n".join(lines) + "\n")


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
    kinds = {"latent", "neuron", "neuron_equal_push", "random", "random_sae"}
    assert set(steered.kind) == kinds and set(steered.layer) == {10, 11}
    latents = steered[(steered.kind == "latent") & (steered.quantity == "mean_steerability")]
    assert (latents.n_sampled_from == 1536).all() and latents.value.between(0, 2).all()
    table7 = pd.read_csv(results / "table7.csv")
    assert {"SAE latents", "neurons"} <= set(table7["part"]) and (table7["n_images"] == 16).all()
    assert "task_topk_64" in set(table7["column"])
    datasets = pd.read_csv(results / "datasets.csv", index_col="dataset")
    assert datasets.loc["birds_augmented", "n_train"] == 16 * 6  # as they are and in five ways
    [sae] = (results / "saes/birds_topk/L11").iterdir()
    assert pd.read_csv(sae / "curve.csv")["tokens"].iloc[-1] == 16 * 6 * 50 * 2  # two epochs
    for figure in ("fig1", "fig2", "fig3", "fig10"):
        assert (results / f"{figure}.png").stat().st_size > 1000
    shown = pd.read_csv(results / "top_images.csv")
    assert (shown["place"] < 4).all() and set(shown["dataset"]) <= {"birds", "attacked"}
    concepts = pd.read_csv(results / "concepts.csv")
    assert concepts["kind"].value_counts().to_dict() == {"latent": 1536, "neuron": 768}
    assert concepts["label_entropy_normalised"].dropna().between(0, 1).all()
    quality = pd.read_csv(results / "quality_seeds.csv")
    assert len(quality) == 9 + 2 and (quality["n_images"] == 16).all()
    assert quality["monosemanticity_encoder"].between(-1, 1).all()
    classes = pd.read_csv(results / "class_concepts.csv")
    assert len(classes) == 4 * (4 + 2 + 2) * 5  # edits, k of each choice, classes and their mean
    assert classes["accuracy"].between(0, 1).all()
    variants = pd.read_csv(results / "suppression_variants.csv")
    assert set(variants["case"]) == {"headline", "mean", "guessed", "grid", "several_layers"}
    table2 = pd.read_csv(results / "table2.csv")
    assert set(table2[table2.dataset == "attacked"].subset) == {"all", "attacked", "not_attacked"}
    assert set(table2.text) == {"none", "prefix", "prefix_on_ablated"}
    assert table2.accuracy.notna().all() and (table2[table2.dataset == "images"].n_words == 0).all()
    runs = pd.read_csv(results / "adaptation_runs.csv")
    assert list(runs["method"]) == ["none", "vpt", "maple", "tuned"]
    assert (runs["n_images"] == 16).all() and runs["all"].between(0, 1).all()
    changes = pd.read_csv(results / "adaptation_changes.csv")
    assert set(changes["method"]) == {"vpt", "maple", "tuned"}
    prompts = results / "activations/vit-b-32-random-vpt-seed0/images-test"
    [store] = prompts.glob("resid_post-L11-*")
    assert ActivationStore(store).read(0, 16, tokens="prompt").shape == (16, 4, 768)
    assert re.search(r"paper", (results / "table3.md").read_text())
