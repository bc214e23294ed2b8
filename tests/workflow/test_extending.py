"""docs/extending.md: the example analysis, word for word, in a copy of the project."""

import re

import pandas as pd
import pytest
from PIL import Image
from small_project import ROOT, Project

PAGE = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([\w./]+)`\n```\w+\n(.*?)^```$", PAGE, flags=re.M | re.S))


def of_folder(folder: str) -> dict[str, str]:
    return {name: text for name, text in FILES.items() if folder in name}


def section(name: str) -> str:
    """The lines of a config section that the page gives for `analyses:`."""
    [found] = re.findall(rf"^```yaml\n(  {name}: .*?)^```$", PAGE, flags=re.M | re.S)
    return found


@pytest.fixture
def extended(project: Project) -> Project:
    """The small project with the files of the example analysis, and its section in the config."""
    for name, text in {**of_folder("norms/"), **of_folder("norms.smk")}.items():
        path = project.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    config = project.path / "config.yaml"
    text = config.read_text()
    assert "\nanalyses:\n" in text
    config.write_text(text.replace("\nanalyses:\n", f"\nanalyses:\n{section('norms')}"))
    return project


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
    config = extended.path / "config.yaml"
    config.write_text(
        config.read_text().replace("dataset: general, split: test, l", "dataset: x, split: test, l")
    )
    done = extended.snakemake("--dry-run", "results/norms.png")
    assert done.returncode != 0
    assert "analyses.norms.dataset: 'x' is not under `datasets`; its entries: general." in (
        done.stdout + done.stderr
    )
