"""A streamed recipe as a target: no training store, the SAEs of the stored recipe."""

import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file
from small_project import Project, plan_of


def weights(folder):
    [path] = folder.glob("*/sae_weights.safetensors")
    return load_file(path)


@pytest.mark.slow
def test_a_streamed_recipe_trains_without_a_store(project: Project):
    config = project.config
    config["saes"]["streamed"] = config["saes"]["topk_resid"] | {"stream": True}
    results = project.path / "results"
    project.write_config(config)
    shutil.rmtree(results / "activations")  # and no job needs it
    [sae] = plan_of(project).saes("streamed", 1)
    trained = sae.artefact.path
    assert project.planned(trained) == {"train_sae/streamed-01-base"}
    log = project.run("--cores", "2", trained)
    assert "images/s" in log and "training waited for them" in log
    assert not (results / "activations").exists()
    assert project.planned(trained) == set()
    stored, streamed = (weights(results / f"saes/{n}/L01") for n in ("topk_resid", "streamed"))
    for name, values in stored.items():
        # Extraction had other batches and two threads, so a last bit may differ here and there.
        np.testing.assert_allclose(streamed[name], values, rtol=0, atol=1e-4)
