"""Every file can be deleted: one command restores it, and nothing else is lost."""

import shutil
from pathlib import Path

import pytest
from small_project import Project, plan_of

# kind → pattern of the deleted file or folder of results
KINDS = {
    "drawn set": "world/drawn-*",
    "drawn pictures": "world/drawn-*/general",
    "attacked copy": "world/attacked-*",
    "manifest": "datasets/general-*/manifest.csv",
    "classes": "datasets/general-*/classes.csv",
    "index": "datasets/general-*/COMPLETE.json",
    "index fingerprint": "datasets/general-*/fingerprint.json",
    "weights' fingerprint": "fingerprints/model-tiny-*/COMPLETE.json",
    "spec.json": "activations/tiny/general-train/resid_post-L01-*/spec.json",
    "store": "activations/tiny/general-train/resid_post-L01-*",
    "store's mark": "activations/tiny/general-train/resid_post-L01-*/COMPLETE.json",
    "acts.zarr": "activations/tiny/general-train/resid_post-L01-*/acts.zarr",
    "one part": "activations/tiny/general-train/resid_post-L01-*/parts/00001.json",
    "SAE": "saes/topk_resid/L01/base-*",
    "weights of an SAE": "saes/topk_resid/L01/base-*/sae_weights.safetensors",
    "SAE of a list": "saes/vanilla_mlp/L00/l1_coefficient-1e-05-*",
    "measurement": "measurements/reconstruction/topk_resid-L01-*.csv",
    "record of a measurement": "measurements/reconstruction/topk_resid-L01-*.csv.spec.json",
    "table": "table4.csv",
    "rendered table": "table4.md",
    "figure": "fig4.png",
    "drawing": "fig4.svg",
    "record of a figure": "fig4.png.spec.json",
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Project:
    """A small project with a drawn set and an attacked copy, built once."""
    from small_project import new_project

    project = new_project(tmp_path_factory.mktemp("whole") / "project")
    config = project.config
    config["datasets"]["drawn"] = {
        "kind": "imagenet",
        "draw": {"world": "general", "seed": 0, "n_train": 48, "n_val": 0, "n_test": 0},
    }
    config["datasets"]["attacked"] = {
        "kind": "attacked_pairs",
        "attack": {"dataset": "general", "splits": {"train": 6}, "font_size": [0.3, 0.4]},
    }
    project.write_config(config)
    project.run("--cores", "2")
    return project


@pytest.fixture
def deleted(whole: Project, tmp_path: Path, request) -> tuple[Project, Path]:
    """Copy the project, delete one file or folder, and return both."""
    project = Project(tmp_path / "project")
    shutil.copytree(whole.path, project.path, symlinks=True)
    [path] = (project.path / "results").glob(KINDS[request.param])
    delete(path)
    return project, path


def artefact_of(project: Project, path: Path) -> str:
    """Return the path under which Snakemake makes the deleted file or folder."""
    results = project.path / "results"
    for artefact in plan_of(project).artefacts:
        made = project.path / artefact.path
        if path in (made, made.parent) or (
            made.name == "COMPLETE.json" and made.parent in path.parents and made.parent != results
        ):
            return artefact.path
    return str(path.relative_to(project.path))


def named(kinds: dict) -> list[str]:
    return [kind.replace(" ", "_") for kind in kinds]


@pytest.mark.slow
@pytest.mark.parametrize("deleted", KINDS, indirect=True, ids=named(KINDS))
def test_its_own_path_brings_it_back(deleted):
    project, path = deleted
    asked = artefact_of(project, path)
    project.run("--cores", "2", asked)
    assert path.exists(), asked
    assert project.planned() == set()


# Another instance of each kind, so that all can be deleted at once.
AT_ONCE = [
    "datasets/general-*/manifest.csv",
    "fingerprints/model-tiny-*/COMPLETE.json",
    "activations/tiny/general-train/mlp_out-L00-*/acts.zarr",
    "activations/tiny/general-train/mlp_out-L01-*/parts/00001.json",
    "activations/tiny/general-train/resid_post-L01-*/spec.json",
    "activations/tiny/general-test/mlp_out-L00-*",
    "activations/tiny/general-test/mlp_out-L01-*/COMPLETE.json",
    "saes/topk_resid/L01/base-*/sae_weights.safetensors",
    "saes/vanilla_mlp/L00/l1_coefficient-1e-05-*",
    "measurements/reconstruction/topk_resid-L01-*.csv",
    "measurements/reconstruction/vanilla_mlp-L00-*.csv.spec.json",
    *("table4.csv", "table3.md", "fig4.png", "fig8.svg", "l0_image.png.spec.json", "firing.csv"),
    "l0_tokens.csv",  # and with it fig8.svg, whose fig8.png still exists
]


def delete(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def same(before: dict[Path, bytes], after: dict[Path, bytes]) -> list[Path]:
    return [path for path, content in before.items() if after.get(path) != content]


def tables(project: Project) -> dict[Path, bytes]:
    results = project.path / "results"
    return {path.relative_to(results): path.read_bytes() for path in results.glob("*.[cmh]*")
            if path.suffix in (".csv", ".md", ".html")}  # fmt: skip


@pytest.fixture
def emptied(project: Project) -> tuple[Project, list[Path], dict[Path, bytes]]:
    """Delete one file or folder of every kind; return project, deletions and old tables."""
    before = tables(project)
    gone = [path for pattern in AT_ONCE for path in (project.path / "results").glob(pattern)]
    assert len(gone) == len(AT_ONCE)
    for path in gone:
        delete(path)
    return project, gone, before


def test_everything_comes_back_by_its_own_path(emptied):
    project, gone, before = emptied
    asked = sorted({artefact_of(project, path) for path in gone})
    project.run("--cores", "2", *asked)
    assert [path for path in gone if not path.exists()] == []
    assert project.planned() == set() and same(before, tables(project)) == []


def test_one_command_restores_whatever_stale_targets_need(emptied):
    project, _, before = emptied
    for key, value in (("zeroshot.templates", ["a picture of the {}."]), ("seed", 1)):
        project.edit_config(key, value)
    project.run("--cores", "2")
    assert project.planned() == set()
    assert {str(path) for path in same(before, tables(project))} >= {"table3.csv", "table4.csv"}


# kind → a stale target that needs it: a run for that target must restore it
NEEDED = {
    "drawn pictures": ("datasets.drawn.on_bad_image", "skip"),
    "manifest": ("activations.permute_seed", 1),
    "classes": ("zeroshot.templates", ["a picture of the {}."]),
    "index": ("zeroshot.templates", ["a picture of the {}."]),
    "weights' fingerprint": ("zeroshot.templates", ["a picture of the {}."]),
    "spec.json": ("saes.topk_resid.k", 3),
    "store": ("saes.topk_resid.k", 3),
    "acts.zarr": ("saes.topk_resid.k", 3),
    "one part": ("saes.topk_resid.k", 3),
    "SAE": ("zeroshot.templates", ["a picture of the {}."]),
    "weights of an SAE": ("zeroshot.templates", ["a picture of the {}."]),
    "SAE of a list": ("zeroshot.templates", ["a picture of the {}."]),
    "measurement": ("analyses.reconstruction.table4", ["topk_resid", "vanilla_mlp"]),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "deleted", NEEDED, indirect=True, ids=[k.replace(" ", "_") for k in NEEDED]
)
def test_one_command_restores_what_a_stale_target_needs(deleted, request):
    project, path = deleted
    kind = request.node.callspec.params["deleted"]
    project.edit_config(*NEEDED[kind])
    project.run("--cores", "2")
    assert path.exists()
    assert project.planned() == set()


@pytest.mark.parametrize("kind", ["store", "acts.zarr", "one part"])
def test_an_up_to_date_target_does_not_pull_a_store_back(project: Project, kind: str):
    [path] = (project.path / "results").glob(KINDS[kind])
    delete(path)
    assert project.planned() == set()


def test_a_missing_table_is_made_although_only_ancient_inputs_lead_to_what_runs(project: Project):
    """Snakemake alone silently skips the rendered table here."""
    results = project.path / "results"
    [record] = results.glob("measurements/reconstruction/vanilla_mlp-L00-*.csv.spec.json")
    record.unlink()
    (results / "table3.md").unlink()
    assert {"measure_reconstruction/vanilla_mlp-00", "render/table3"} <= project.planned()
