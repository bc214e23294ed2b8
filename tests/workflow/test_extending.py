"""docs/extending.md: its examples, word for word, in a copy of the project."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from small_project import ROOT, Project

from clip_sae.sae import Sae

PAGE = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([\w./]+)`\n```\w+\n(.*?)^```$", PAGE, flags=re.M | re.S))
NEW = {  # each new file of the page by the section that has it
    heading: re.findall(r"^`([\w./]+)`$", text, flags=re.M)
    for heading, text in re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", PAGE, flags=re.M | re.S)
}
COLUMNS = "src/clip_sae/analyses/shared/image_metrics.py"


def yaml_of(start: str) -> str:
    """Return the YAML block of the page that begins with `start`."""
    [found] = re.findall(rf"^```yaml\n({start}.*?)^```$", PAGE, flags=re.M | re.S)
    return found


def write(project: Project, heading: str) -> None:
    """Write the files of one section of the page."""
    for name in NEW[heading]:
        path = project.path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        assert not path.exists(), f"{name} exists already"
        path.write_text(FILES[name])


def add_to_config(project: Project, parent: str, block: str) -> None:
    """Put a block of the page under a key of config.yaml."""
    project.replace_in("config.yaml", f"\n{parent}:\n", f"\n{parent}:\n{block}")


def python(project: Project, *arguments: str) -> str:
    """Run Python in the project, with the project's own package."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=project.path,
        env=os.environ | {"PYTHONPATH": "src"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def refused(project: Project, target: str) -> str:
    """Return the error of a dry run."""
    done = project.snakemake("--dry-run", target)
    assert done.returncode != 0
    return done.stdout + done.stderr


@pytest.fixture
def extended(project: Project) -> Project:
    """The small project with the example analysis, and its section in the config."""
    write(project, "An analysis")
    add_to_config(project, "analyses", yaml_of("  norms: "))
    return project


def test_the_page_is_short_and_its_links_lead_somewhere():
    assert len(PAGE.splitlines()) < 450
    anchors = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.+)$", PAGE, flags=re.M)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= anchors
    for name in re.findall(r"`((?:src|workflow|benchmarks|tests)/[\w./]+)`", PAGE):
        assert (ROOT / name).exists() or name in FILES, name


def test_the_example_analysis_comes_out_of_the_page(extended: Project):
    # the store of layer 0 is a new one; all that stands is left alone
    planned = extended.planned("results/norms.png")
    assert {"measure_norms", "draw/norms"} <= planned
    extended.run("results/norms.png", "--cores", "2")
    table = pd.read_csv(extended.path / "results/norms.csv")
    assert len(table) == 4 and (table["norm"] > 0).all()
    with Image.open(extended.path / "results/norms.png") as image:
        assert image.width > 100
    assert extended.planned("results/norms.png") == set()
    listed = extended.run("--list")
    assert "Measure the mean norm of CLS and patch tokens per layer." in listed


def test_its_keys_are_checked_like_all_others(extended: Project):
    extended.replace_in(
        "config.yaml", "dataset: general, split: test, l", "dataset: x, split: test, l"
    )
    assert (
        "analyses.norms.dataset: 'x' is not under `datasets`; its entries: general."
    ) in refused(extended, "results/norms.png")


def test_a_rule_without_a_file_is_named(extended: Project):
    (extended.path / "workflow/rules/norms.smk").unlink()
    sentence = "no file of workflow/rules has the rule 'measure_norms'"
    assert sentence in refused(extended, "results/norms.png")


def test_the_example_architecture_is_trained_and_measured(project: Project):
    write(project, "An SAE architecture")
    add_to_config(project, "saes", yaml_of("  tanh_resid:"))
    table4 = "analyses.reconstruction.table4"
    assert "table4: [topk_resid, tanh_resid]" in PAGE
    project.edit_config(table4, ["topk_resid", "tanh_resid"])
    target = "results/table4.csv"
    trained = {name for name in project.planned(target) if name.startswith("train_")}
    assert trained == {"train_tanh_resid_L01"}
    project.run(target, "--cores", "2")
    folders = sorted((project.path / "results/saes").glob("tanh_resid*/**/cfg.json"))
    assert len(folders) == 2
    for folder in folders:
        sae = Sae.load(folder.parent)
        assert sae.training_architecture == "tanh" and sae.architecture == "vanilla"
        np.testing.assert_allclose(sae.W_dec.norm(dim=1), 1, rtol=1e-5)
        assert (sae.b_enc != 0).any()
    measured = pd.concat(
        map(pd.read_csv, project.path.glob("results/measurements/reconstruction/tanh_resid*.csv"))
    )
    assert len(measured) == 6 and (measured["l0"] > 0).all()
    code = "from clip_sae.planning.recipes import key_table; print(key_table())"
    row = "| tanh | `tanh_slope` | a number > 0 | 4 | slope of the tanh at zero |"
    assert row in python(project, "-c", code)
    for key, value, sentence in (
        ("tanh_slope", -1, "tanh_slope is -1 (int); expected a number > 0"),
        ("k", 4, "remove k from this tanh SAE"),
    ):
        before = project.config
        project.edit_config(f"saes.tanh_resid.{key}", value)
        assert sentence in refused(project, target)
        project.write_config(before)


def write_birds(project: Project) -> None:
    """Write CUB's four files for four images of two species."""
    root = project.path / "birds"
    labels = ("001.Black_footed_Albatross", "002.Laysan_Albatross")
    names = [f"{label}/{i}.png" for label in labels for i in (1, 2, 3)]
    for number, name in enumerate(names):
        path = root / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (40 * number, 80, 120)).save(path)
    lines = {
        "images": names,
        "classes": labels,
        "image_class_labels": [1, 1, 1, 2, 2, 2],
        "train_test_split": [1, 1, 0, 1, 1, 0],
    }
    for name, values in lines.items():
        text = "".join(f"{i} {value}\n" for i, value in enumerate(values, start=1))
        (root / f"{name}.txt").write_text(text)


def test_the_example_data_sets_are_listed(project: Project):
    write(project, "A data set")
    write_birds(project)
    for start in ("  birds: ", "  fewer: "):
        add_to_config(project, "datasets", yaml_of(start))
    project.run("results/datasets.csv", "--cores", "2")
    sets = pd.read_csv(project.path / "results/datasets.csv")
    assert sets["dataset"].tolist() == ["birds", "fewer", "general"]
    [birds] = project.path.glob("results/datasets/birds-*")
    manifest, classes = pd.read_csv(birds / "manifest.csv"), pd.read_csv(birds / "classes.csv")
    assert manifest["split"].value_counts().to_dict() == {"train": 2, "val": 2, "test": 2}
    assert classes["name"].tolist() == ["Black footed Albatross", "Laysan Albatross"]
    [fewer] = project.path.glob("results/datasets/fewer-*")
    assert pd.read_csv(fewer / "manifest.csv")["split"].value_counts().to_dict() == {
        "train": 12,
        "val": 3,
        "test": 5,
    }
    # images of a made set reach stores like those of any other
    write(project, "An analysis")
    block = yaml_of("  norms: ").replace("dataset: general", "dataset: fewer")
    add_to_config(project, "analyses", block)
    project.run("results/norms.csv", "--cores", "2")
    assert set(pd.read_csv(project.path / "results/norms.csv")["n_images"]) == {5}

    project.edit_config("datasets.birds.options.val_every", 1)
    assert "val_every" in refused(project, "results/datasets.csv")
    project.edit_config("datasets.birds.options", {"expect": "cub"})
    done = project.snakemake("results/datasets.csv", "--cores", "2")
    assert done.returncode != 0
    assert "5994" in (done.stdout + done.stderr).replace(",", "")


def test_the_tower_of_the_page_can_be_cut_at_every_layer(project: Project):
    write(project, "A tower")
    said = "2 layers, 17 tokens: every cut gives the same embedding\n"
    assert python(project, "check_tower.py", "local-dir:clip") == said
    assert python(project, "check_tower.py", "local-dir:clip", "random:0") == said
    block = yaml_of("model: ")
    config = project.config
    del config["model"]
    project.write_config(config)
    path = project.path / "config.yaml"
    path.write_text(block + path.read_text())
    assert "fingerprint_model/model-untrained" in project.planned("results/fig4.png")


def test_the_metric_of_the_page_is_a_column(project: Project):
    [added] = re.findall(rf"^`{COLUMNS}`, added\n```python\n(.*?)^```$", PAGE, flags=re.M | re.S)
    assert COLUMNS.endswith(re.search(r"\[a metric\].*`(.*)` \|", PAGE)[1])
    before = tables(project)
    project.replace_in(COLUMNS, "\n\nclass ImageMetrics:", f"\n\n{added}\n\nclass ImageMetrics:")
    write(project, "A metric")
    planned = project.planned_rules("results/table4.csv")
    assert "measure_reconstruction" in planned
    assert not any(name.startswith(("train", "extract", "index")) for name in planned)
    project.run("results/table4.csv", "--cores", "2")
    new = [path for path in tables(project) if path not in before]
    assert new
    for path in new:
        table = pd.read_csv(path)
        assert table["norm_ratio"].between(table["norm_ratio_low"], table["norm_ratio_high"]).all()
    [test] = NEW["A metric"]
    python(project, "-m", "pytest", "-q", "-p", "no:cacheprovider", test)


def tables(project: Project) -> list[Path]:
    """Return the measured tables of reconstruction."""
    return sorted(project.path.glob("results/measurements/reconstruction/*.csv"))
