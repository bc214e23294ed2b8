"""The workflow as a module of another Snakefile, and the page that presents its config."""

import re
from pathlib import Path

import pytest
import yaml
from small_project import ROOT, Project, small_config, write_clip, write_images

WORKFLOW = ROOT / "workflow/Snakefile"
IMPORTING = f'''
configfile: "config.yaml"


module clip_sae:
    snakefile:
        "{WORKFLOW}"
    config:
        config


use rule * from clip_sae
'''


@pytest.fixture
def importing(tmp_path: Path) -> Project:
    """A folder that holds a config, its data, and a Snakefile that imports the workflow."""
    write_images(tmp_path / "images")
    write_clip(tmp_path / "clip")
    (tmp_path / "Snakefile").write_text(IMPORTING)
    project = Project(tmp_path)
    project.write_config(small_config(tmp_path))
    return project


def test_a_module_lists_the_same_jobs_as_the_workflow_and_builds_them(importing: Project):
    profile = ("--workflow-profile", str(ROOT / "profiles/default"))
    jobs = importing.planned(*profile)
    assert {"index_images/general", "train_vanilla_mlp_L00", "draw/fig4"} <= jobs
    assert jobs == importing.planned(*profile, "--snakefile", str(WORKFLOW))
    importing.run(*profile, "--cores", "1", "results/datasets.csv")
    assert "general,imagenet,39,3" in (importing.path / "results/datasets.csv").read_text()
    # The code cache lies next to the workflow, not in the folder that imports it.
    assert not (importing.path / ".snakemake/clip-sae-code.json").exists()


def test_the_page_on_the_config_has_every_section_of_the_schema():
    schema = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
    page = (ROOT / "config/README.md").read_text()
    assert re.findall(r"^\| `(\w+)` \| .+ \|$", page, re.MULTILINE) == list(schema["properties"])
    assert (ROOT / "config/config.yaml").resolve() == ROOT / "config.yaml"
