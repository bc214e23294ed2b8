"""Generic image folders and typographic sets (Table 2), the latter also on real photographs."""

import os
from pathlib import Path

import pytest

from clip_sae.datasets.listing import DatasetError


def test_image_folder_with_and_without_splits(two_classes, index):
    with_splits = index("image_folder", two_classes)
    assert with_splits.summary["splits"] == {"train": 6, "val": 4}
    flat = index("image_folder", two_classes / "train", options={"split": "test"})
    assert flat.summary["splits"] == {"test": 6}
    assert flat.manifest["path"].iloc[0] == "cat/0.png"
    assert index("image_folder", two_classes / "train").summary["splits"] == {"train": 6}


def test_images_without_class_folders_are_unlabelled(two_classes, index):
    found = index("image_folder", two_classes / "train" / "cat")
    assert found.classes["label"].tolist() == ["unlabelled"]
    assert found.manifest["path"].tolist() == ["0.png", "1.png", "2.png"]


def test_split_option_is_refused_where_split_folders_exist(two_classes, index):
    with pytest.raises(DatasetError, match="split is 'val', but .* has its own split folders"):
        index("image_folder", two_classes, options={"split": "val"})
    with pytest.raises(DatasetError, match="split is 'valid'; it must be one of train, val, test"):
        index("image_folder", two_classes / "train", options={"split": "valid"})


def test_labels_keep_leading_zeros_and_strange_words(tmp_path, picture, index):
    for label in ("001", "None", "NA", "a,b"):
        picture(tmp_path / label / "x.png")
    found = index("image_folder", tmp_path)
    assert found.classes["label"].tolist() == ["001", "NA", "None", "a,b"]


def test_an_empty_folder_is_an_error(tmp_path, index):
    with pytest.raises(DatasetError, match="has no images in its class folders; it holds nothing"):
        index("image_folder", tmp_path)


@pytest.fixture
def typographic(tmp_path, picture):
    """Flat, with every oddity of the real names: case, blanks, suffixes, an unattacked image."""
    for name in (
        "label=dog_text=cat.png",
        "label=coffee dispenser_text=desk.jpg",
        "label=laptop_text=TV.jpeg",
        "label=dog_text=.JPG",
        "label=a_text=b_text=hot_dog.png",
    ):
        picture(tmp_path / "paint" / name)
    return tmp_path / "paint"


def test_typographic_names_carry_object_and_written_word(typographic, index):
    found = index("typographic", typographic)
    pairs = sorted(zip(found.manifest["label"], found.manifest["word"], strict=True))
    assert pairs == [
        ("a_text=b", "hot_dog"),
        ("coffee dispenser", "desk"),
        ("dog", ""),
        ("dog", "cat"),
        ("laptop", "TV"),
    ]
    assert set(found.manifest["split"]) == {"test"}


def test_typographic_classes_are_the_union_of_objects_and_words(typographic, index):
    found = index("typographic", typographic)
    labels = ["TV", "a_text=b", "cat", "coffee dispenser", "desk", "dog", "hot_dog", "laptop"]
    assert found.classes["label"].tolist() == labels
    assert found.classes["name"].tolist()[-2] == "hot dog"
    for row in found.manifest.itertuples():
        assert labels[row.label_idx] == row.label


def test_typographic_splits_as_the_demo_has_them(tmp_path, picture, index):
    for split in ("train", "val", "test"):
        picture(tmp_path / "typographic" / split / "label=cat_text=dog.png")
    found = index("typographic", tmp_path / "typographic")
    assert found.summary["splits"] == {"test": 1, "train": 1, "val": 1}
    assert found.manifest["path"].tolist()[1] == "train/label=cat_text=dog.png"


def test_images_without_label_and_word_are_refused(typographic, picture, index):
    picture(typographic / "IMG_1.png")
    with pytest.raises(DatasetError, match="not label=<object>_text=<word>.<ext>: IMG_1.png"):
        index("typographic", typographic)


def test_a_folder_without_attacks_is_refused(two_classes, index):
    with pytest.raises(DatasetError, match="neither directly nor in train/, val/, test/"):
        index("typographic", two_classes)


@pytest.mark.parametrize("name", ["rta100", "paint"])
def test_published_sizes_of_typographic_sets(typographic, index, name):
    n = {"rta100": 1000, "paint": 110}[name]
    message = f"is not the whole {name} set:\n  5 images found, {n} expected"
    with pytest.raises(DatasetError, match=message):
        index("typographic", typographic, options={"expect": name})


@pytest.mark.parametrize("name", ["rta100", "paint"])
def test_real_photographs(index, name):
    photos = os.environ.get("CLIP_SAE_PHOTOS")
    if not photos:
        pytest.skip("CLIP_SAE_PHOTOS does not point at a folder with rta100/ and paint/")
    found = index("typographic", Path(photos) / name, options={"expect": name})
    assert found.summary["n_skipped"] == 0
    assert (found.manifest["word"] != "").all()
