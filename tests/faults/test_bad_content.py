"""Broken content: an image before and after indexing, a shard of a store."""

import os

import pandas as pd
import pytest

IMAGE = "images/train/key/key_00050.png"
SHARD = "acts.zarr/patch/c/75/0/0"


def break_image(project) -> bytes:
    """Cut an image in half; return its old bytes."""
    path = project.path / IMAGE
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return whole


@pytest.mark.faults
@pytest.mark.fault("corrupt image, `on_bad_image: error`")
def test_corrupt_image_is_named_by_the_listing(project, scenario):
    scenario.injected("one of 300 images cut in half before it is listed; then put back")
    whole = break_image(project)
    project.forget("datasets", "activations", "saes")
    run = project.run_once()
    assert run.process.returncode != 0
    scenario.row.detected = "by the listing (`index_images`), before anything is computed"
    scenario.saw(run, IMAGE.removeprefix("images/") + ":", project)
    assert "on_bad_image: skip" in run.output
    scenario.nothing_wrong_served(project)
    (project.path / IMAGE).write_bytes(whole)
    scenario.finish(project)
    scenario.row.lost = "nothing"


@pytest.mark.faults
@pytest.mark.fault("corrupt image, `on_bad_image: skip`")
def test_corrupt_image_is_left_out_and_counted(project, scenario):
    scenario.injected("the same with `on_bad_image: skip`; then the image put back, and `error`")
    whole = break_image(project)
    project.edit_config("datasets.general.on_bad_image", "skip")
    run = project.run_once("results/datasets.csv")
    assert run.process.returncode == 0, run.output
    counted = pd.read_csv(project.path / "results/datasets.csv")
    assert counted["n_skipped"].tolist() == [1]
    scenario.row.detected = "by the listing; `datasets.csv` counts it (`n_skipped` is 1)"
    scenario.saw(run, " skipped", project)
    (project.path / IMAGE).write_bytes(whole)
    project.edit_config("datasets.general.on_bad_image", "error")
    scenario.finish(project)
    scenario.row.lost = "nothing; the image is in no number until it is put back"


@pytest.mark.faults
@pytest.mark.parametrize("setting", ["error", "skip"])
@pytest.mark.fault("image corrupted after it was listed")
def test_image_corrupted_after_it_was_listed(project, scenario, setting):
    scenario.injected(f"one of 300 images cut in half before it is extracted; `{setting}`")
    if setting == "skip":
        project.edit_config("datasets.general.on_bad_image", "skip")
        listed = project.run_once("results/datasets.csv", "--until", "index_images")
        assert listed.process.returncode == 0, listed.output
    project.forget("activations", "saes")
    whole = break_image(project)
    run = project.run_once()
    assert run.process.returncode != 0
    scenario.row.detected = "by the extraction, which names the image"
    scenario.saw(run, IMAGE, project)
    scenario.nothing_wrong_served(project)
    kept = project.finished_ranges()
    (project.path / IMAGE).write_bytes(whole)
    if setting == "skip":  # its stores have other names, with the same content
        again = project.run_once()
        assert again.process.returncode == 0, again.output
        assert project.tables() == scenario.undisturbed.tables()
        scenario.row.finished_by = "`snakemake`, the image put back"
    else:
        scenario.finish(project, by="`snakemake`, the image put back")
    now = project.finished_ranges()
    scenario.lost(sum(now[part] != kept[part] for part in kept), len(kept), "finished ranges")


def truncate(path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip(path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.faults
@pytest.mark.parametrize("damage", [truncate, flip])
@pytest.mark.fault("damaged shard")
def test_damaged_shard_is_named_and_its_range_alone_redone(project, scenario, damage):
    what = "cut in half" if damage is truncate else "one bit of it changed"
    scenario.injected(f"the shard of range 75 of 150 {what}, before training")
    project.forget("saes")
    damage(project.store / SHARD)
    run = project.run_once()
    assert run.process.returncode != 0
    scenario.row.detected = "by the reader of the store, which names file, range and images"
    scenario.saw(run, SHARD, project)
    scenario.nothing_wrong_served(project)
    kept = project.finished_ranges()
    repaired = project.clip_sae("verify", "--repair", "results/activations")
    assert repaired.returncode == 1 and SHARD in repaired.stdout, repaired.stdout
    assert "ranges 75 are cleared" in repaired.stdout
    scenario.finish(project, by="`python -m clip_sae verify --repair`, `snakemake`")
    now = project.finished_ranges()
    assert [part for part in kept if now[part] != kept[part]] == ["00075.json"]
    scenario.row.lost = "the damaged range; 0 of 149 others"
