"""An augmented set as a target: indexed without files of its own, extracted, trained on."""

import pandas as pd
import pytest
from small_project import Project, plan_of

from clip_sae.store import ActivationStore

CHAIN = {
    "index_images/turned",
    "extract_turned_train_block0",
    "train_sae/turned_topk-01-base",
}


def sae_of(project: Project) -> str:
    """Return the last file of the training under the current config."""
    [sae] = plan_of(project).saes("turned_topk", 1)
    return sae.artefact.path


@pytest.fixture
def turned(project: Project) -> Project:
    """The built project with an augmented set, and a recipe of two epochs on it."""
    config = project.config
    config["datasets"]["turned"] = {
        "kind": "augmented",
        "augment": {"dataset": "general", "rotate": [90], "flip": True},
    }
    config["saes"]["turned_topk"] = config["saes"]["topk_resid"] | {
        "dataset": "turned",
        "epochs": 2,
    }
    project.write_config(config)
    return project


def test_a_recipe_trains_on_its_own_augmented_store(turned: Project):
    assert turned.planned(sae_of(turned)) == CHAIN
    turned.run("--cores", "2", sae_of(turned))
    assert turned.planned(sae_of(turned)) == set()
    results = turned.path / "results"
    [index] = (results / "datasets").glob("turned-*")
    manifest = pd.read_csv(index / "manifest.csv", keep_default_na=False)
    assert len(manifest) == 24 * 3 and set(manifest["split"]) == {"train"}
    assert set(manifest["operation"]) == {"", "rotate", "flip"}
    [store] = (results / "activations/tiny/turned-train").glob("resid_post-L01-*")
    assert ActivationStore(store).n_images == 72
    [sae] = (results / "saes/turned_topk/L01").iterdir()
    assert pd.read_csv(sae / "curve.csv")["tokens"].iloc[-1] == 72 * 17 * 2

    turned.edit_config("datasets.turned.augment.rotate", [90, 180])
    assert turned.planned(sae_of(turned)) == CHAIN
    turned.edit_config("datasets.turned.augment.rotate", [90])
    assert turned.planned(sae_of(turned)) == set()
    image = next((turned.path / "images/train/cat").glob("*.png"))
    image.write_bytes(image.read_bytes() + b"\0")
    turned.run("--cores", "1", "--force", plan_of(turned).index("general").path)
    assert turned.planned(sae_of(turned)) == CHAIN
