"""Attacked pairs on disk: twins that differ by letters only, read back as a data set."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from clip_sae.datasets.attack.copies import write_pairs
from clip_sae.datasets.index import index_dataset
from clip_sae.datasets.listing import DatasetError
from clip_sae.datasets.manifest import pair_rows

DECODING = {"image_size": 24, "preprocess": "clip", "exif": "apply", "max_pixels": 10**6}


@pytest.fixture
def source(tmp_path):
    """An ImageNet-like set of three classes; one image cannot be used."""
    rng = np.random.default_rng(0)
    for split, n in (("train", 4), ("val", 2)):
        for label in ("n01", "n02", "n03"):
            folder = tmp_path / "images" / split / label
            folder.mkdir(parents=True)
            for i in range(n):
                pixels = rng.integers(0, 255, (30, 40, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{label}_{i}.{'jpg' if i else 'png'}")
    (tmp_path / "images/train/n01/n01_1.jpg").write_bytes(b"not an image")
    names = {"n01": "tench", "n02": "great white shark", "n03": "hen"}
    return index_dataset(
        "imagenet",
        tmp_path / "images",
        options={"expect": None, "class_names": names},
        on_bad_image="skip",
        progress=False,
    )


def write(tmp_path, source, name="pairs", **options):
    options = {"splits": {"train": None, "val": 3}, "seed": 0, "font_size": (0.3, 0.5)} | options
    return write_pairs(
        tmp_path / name,
        source.manifest,
        source.classes,
        tmp_path / "images",
        decoding=DECODING,
        progress=False,
        **options,
    )


def files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_twins_differ_inside_the_recorded_box_only(tmp_path, source):
    assert write(tmp_path, source) == 11 + 3
    attacks = pd.read_csv(tmp_path / "pairs/attacks.csv")
    for row in attacks.itertuples():
        clean, attacked = (
            np.array(Image.open(tmp_path / "pairs" / side / row.path))
            for side in ("clean", "attacked")
        )
        assert clean.shape == (24, 24, 3)
        changed = np.argwhere((clean != attacked).any(-1))
        assert len(changed)
        low, high = changed.min(0), changed.max(0)
        assert (low >= (row.top, row.left)).all() and (high < (row.bottom, row.right)).all()
    assert (attacks["label"] != attacks["word"]).all()
    assert "train/n01/n01_1.jpg.png" not in set(attacks["path"]), "a bad image has no twin"
    assert "train/n01/n01_0.png" in set(attacks["path"])
    assert "train/n01/n01_2.jpg.png" in set(attacks["path"])


def test_workers_and_a_second_run_write_the_same_bytes(tmp_path, source):
    write(tmp_path, source)
    write(tmp_path, source, "others", workers=2)
    assert files(tmp_path / "pairs") == files(tmp_path / "others")
    write(tmp_path, source, "seeded", seed=1)
    assert files(tmp_path / "pairs") != files(tmp_path / "seeded")


def test_pairs_are_indexed_with_the_classes_of_the_source(tmp_path, source):
    write(tmp_path, source)
    found = index_dataset("attacked_pairs", tmp_path / "pairs", progress=False)
    pd.testing.assert_frame_equal(found.classes, source.classes)
    assert found.summary["splits"] == {"train": 22, "val": 6}
    manifest = found.manifest
    pairs = pair_rows(manifest)
    assert len(pairs) == 14
    clean, attacked = manifest.loc[pairs["clean"]], manifest.loc[pairs["attacked"]]
    assert (clean["word"] == "").all() and (attacked["word"] != "").all()
    assert clean["label"].tolist() == attacked["label"].tolist()
    for a, b in zip(clean["path"], attacked["path"], strict=True):
        assert a.removeprefix("clean/") == b.removeprefix("attacked/")
    assert len(pair_rows(manifest[manifest["split"] == "val"])) == 3


def test_a_pair_that_lost_one_side_is_left_out(tmp_path, source):
    write(tmp_path, source)
    manifest = index_dataset("attacked_pairs", tmp_path / "pairs", progress=False).manifest
    manifest.loc[manifest.index[0], "status"] = "skipped"
    assert len(pair_rows(manifest)) == 13
    with pytest.raises(DatasetError, match="no pair of clean/<path> and attacked/<path>"):
        pair_rows(manifest[manifest["word"] == ""])


def test_a_missing_twin_and_a_foreign_class_are_named(tmp_path, source):
    write(tmp_path, source)
    next((tmp_path / "pairs/attacked/val").rglob("*.png")).unlink()
    with pytest.raises(DatasetError, match="1 of the 28 images that attacks.csv lists are missing"):
        index_dataset("attacked_pairs", tmp_path / "pairs", progress=False)
    classes = tmp_path / "pairs/classes.csv"
    classes.write_text(classes.read_text().replace("n03,hen\n", ""))
    with pytest.raises(DatasetError, match="classes n03, which classes.csv does not list"):
        index_dataset("attacked_pairs", tmp_path / "pairs", progress=False)
    with pytest.raises(DatasetError, match="lacks attacks.csv, classes.csv"):
        index_dataset("attacked_pairs", tmp_path / "images", progress=False)


def test_a_split_that_the_source_lacks_is_named(tmp_path, source):
    with pytest.raises(ValueError, match="no usable image of split 'test'; it has: train, val"):
        write(tmp_path, source, splits={"test": None})
    assert not (tmp_path / "pairs").exists()


def test_real_photographs_can_be_attacked(tmp_path):
    photos = os.environ.get("CLIP_SAE_PHOTOS")
    if not photos:
        pytest.skip("CLIP_SAE_PHOTOS does not point at a folder with rta100/ and paint/")
    root = Path(photos) / "paint"
    real = index_dataset("paint", root, progress=False)
    n = write_pairs(
        tmp_path / "pairs",
        real.manifest,
        real.classes,
        root,
        splits={"test": 12},
        seed=0,
        font_size=(20 / 224, 40 / 224),
        decoding=DECODING | {"image_size": 224, "max_pixels": 10**8},
        progress=False,
    )
    assert n == 12
    attacks = pd.read_csv(tmp_path / "pairs/attacks.csv")
    assert attacks["size"].between(20, 40).all()
