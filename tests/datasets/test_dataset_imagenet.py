"""ImageNet's folder and Kaggle layouts and the three forms of ImageNet-100 (issue 2.5)."""

import json

import pytest

from clip_sae.datasets.class_names import imagenet_wnids, openai_names, openai_names_of
from clip_sae.datasets.kinds.imagenet import KAGGLE_DATA
from clip_sae.datasets.listing import DatasetError

TENCH, GOLDFISH = "n01440764", "n01443537"


def columns(index, *names):
    return [tuple(row) for row in index.manifest[list(names)].itertuples(index=False)]


def test_folder_layout_ignores_folders_next_to_the_splits(two_classes, index):
    (two_classes / "train" / "cat" / ".DS_Store").write_text("x")
    (two_classes / "train" / "cat" / "notes.txt").write_text("x")
    found = index("imagenet", two_classes)
    assert found.summary["splits"] == {"train": 6, "val": 4}
    assert columns(found, "path", "split", "label", "label_idx")[0] == (
        "train/cat/0.png",
        "train",
        "cat",
        0,
    )
    assert found.classes.to_dict("list") == {
        "label_idx": [0, 1],
        "label": ["cat", "traffic_light"],
        "name": ["cat", "traffic light"],
    }
    assert found.summary["ignored"] == ["masks", "train/cat/.DS_Store", "train/cat/notes.txt"]
    assert set(found.manifest["status"]) == {"ok"}


def test_classes_that_are_no_wnids_have_no_published_counts(two_classes, index):
    assert index("imagenet", two_classes).summary["counts_checked"] == "nothing"


def test_wnid_folders_are_checked_against_imagenet(tmp_path, picture, index):
    for i in (1, 2, 4):
        picture(tmp_path / "val" / TENCH / f"ILSVRC2012_val_{i:08d}.JPEG")
    with pytest.raises(DatasetError) as error:
        index("imagenet", tmp_path)
    message = str(error.value)
    assert "is not the whole imagenet set" in message
    assert "train: 0 images found, 1281167 expected" in message
    assert "val: 3 images found, 50000 expected; missing: ILSVRC2012_val_00000003, " in message
    assert "… (49997 in all)" in message
    assert f"1 classes found, 1000 expected; missing: {GOLDFISH}, " in message
    assert f"val: classes without their 50 images: {TENCH}: 3" in message
    assert "`expect` (your own counts, or null)" in message


def test_wnids_of_any_subset_get_open_clips_names(tmp_path, picture, index):
    picture(tmp_path / "val" / GOLDFISH / "a.JPEG")
    picture(tmp_path / "val" / "n15075141" / "b.JPEG")
    found = index("imagenet", tmp_path, options={"expect": None})
    assert found.classes["name"].tolist() == ["goldfish", "toilet paper"]
    assert found.summary["names_from"] == "open_clip"


def test_open_clips_names_stand_in_the_order_of_sorted_wnids():
    from open_clip import IMAGENET_CLASSNAMES

    wnids = imagenet_wnids()
    assert openai_names() == tuple(IMAGENET_CLASSNAMES)
    assert list(wnids) == sorted(wnids) and len(set(wnids)) == 1000
    assert openai_names_of(wnids) == dict(zip(wnids, IMAGENET_CLASSNAMES, strict=True))
    assert openai_names_of([TENCH, "n99999999"]) is None


def test_an_empty_class_folder_is_an_error(two_classes, index):
    (two_classes / "val" / "dog").mkdir()
    with pytest.raises(DatasetError, match="val/dog holds no image .* Fill the folder or remove"):
        index("imagenet", two_classes)


def test_the_error_for_a_folder_without_splits_lists_the_folder(tmp_path, index):
    (tmp_path / "images").mkdir()
    with pytest.raises(DatasetError, match="no images in train/<class>/.*; it holds images"):
        index("imagenet", tmp_path)
    with pytest.raises(DatasetError, match="is not a folder. Put the imagenet data set there"):
        index("imagenet", tmp_path / "none")


def test_splits_takes_some_splits(two_classes, index):
    found = index("imagenet", two_classes, options={"splits": ["val"]})
    assert set(found.manifest["split"]) == {"val"}
    with pytest.raises(DatasetError, match="no images in test/<class>/"):
        index("imagenet", two_classes, options={"splits": ["test"]})
    with pytest.raises(DatasetError, match="has no images of test; splits found: val"):
        index("imagenet", two_classes, options={"splits": ["val", "test"]})
    with pytest.raises(DatasetError, match="it must be a list out of train, val, test"):
        index("imagenet", two_classes, options={"splits": "val"})


def test_an_unlabelled_test_folder_is_ignored(two_classes, picture, index):
    picture(two_classes / "test" / "ILSVRC2012_test_00000001.JPEG")
    found = index("imagenet", two_classes)
    assert set(found.manifest["split"]) == {"train", "val"}
    assert "test" in found.summary["ignored"]


@pytest.fixture
def kaggle(tmp_path, picture):
    """Kaggle's ImageNet with two classes, flat val and both text files."""
    data = tmp_path / KAGGLE_DATA
    for wnid in (TENCH, GOLDFISH):
        picture(data / "train" / wnid / f"{wnid}_1.JPEG")
    lines = ["ImageId,PredictionString"]
    for i, wnid in enumerate((GOLDFISH, TENCH, TENCH), start=1):
        picture(data / "val" / f"ILSVRC2012_val_{i:08d}.JPEG")
        lines.append(f"ILSVRC2012_val_{i:08d},{wnid} 1 2 3 4 {wnid} 5 6 7 8")
    (tmp_path / "LOC_val_solution.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "LOC_synset_mapping.txt").write_text(
        f"{TENCH} tench, Tinca tinca\n{GOLDFISH} goldfish, Carassius auratus\n"
    )
    return tmp_path


def test_kaggle_layout_reads_labels_of_flat_val(kaggle, picture, index):
    picture(kaggle / KAGGLE_DATA / "val" / "extra.JPEG")
    found = index("imagenet_kaggle", kaggle, options={"expect": None, "names": "synset"})
    val = found.manifest[found.manifest["split"] == "val"]
    assert val["label"].tolist() == [GOLDFISH, TENCH, TENCH]
    assert val["path"].iloc[0] == f"{KAGGLE_DATA}/val/ILSVRC2012_val_00000001.JPEG"
    assert found.classes["name"].tolist() == ["tench", "goldfish"]
    assert found.summary["names_from"] == "LOC_synset_mapping.txt"
    assert found.summary["ignored"] == [f"{KAGGLE_DATA}/val/extra.JPEG"]


def test_kaggle_val_may_be_sorted_into_wnid_folders(kaggle, picture, index):
    val = kaggle / KAGGLE_DATA / "val"
    for path in list(val.iterdir()):
        path.unlink()
    picture(val / TENCH / "ILSVRC2012_val_00000002.JPEG")
    found = index("imagenet_kaggle", kaggle, options={"expect": None, "splits": ["val"]})
    assert columns(found, "label", "split") == [(TENCH, "val")]


def test_kaggle_names_missing_images_and_files(kaggle, index):
    (kaggle / KAGGLE_DATA / "val" / "ILSVRC2012_val_00000002.JPEG").unlink()
    with pytest.raises(DatasetError) as error:
        index("imagenet_kaggle", kaggle, options={"expect": None})
    assert "1 of the 3 images that LOC_val_solution.csv lists are missing" in str(error.value)
    assert f"{KAGGLE_DATA}/val/ILSVRC2012_val_00000002.JPEG" in str(error.value)
    (kaggle / "LOC_val_solution.csv").unlink()
    with pytest.raises(DatasetError, match="lacks LOC_val_solution.csv; it holds"):
        index("imagenet_kaggle", kaggle, options={"expect": None})


def test_kaggle_counts_are_checked_by_default(kaggle, index):
    with pytest.raises(DatasetError, match="is not the whole imagenet_kaggle set"):
        index("imagenet_kaggle", kaggle)


@pytest.mark.parametrize("form", ["parts", "merged", "merged in data"])
def test_imagenet100_in_kaggles_and_in_merged_form(tmp_path, picture, index, form):
    base = tmp_path / "data" if form == "merged in data" else tmp_path
    train = {TENCH: "train", GOLDFISH: "train"}
    if form == "parts":
        train = {TENCH: "train.X1", GOLDFISH: "train.X4"}
    for wnid, folder in train.items():
        picture(base / folder / wnid / f"{wnid}_1.JPEG")
        picture(base / ("val.X" if form == "parts" else "val") / wnid / f"{wnid}_v.JPEG")
    labels = {TENCH: "tench, Tinca tinca", GOLDFISH: "gold fish, Carassius auratus"}
    (base / "Labels.json").write_text(json.dumps(labels))
    found = index("imagenet100", tmp_path, options={"expect": None})
    assert found.summary["splits"] == {"train": 2, "val": 2}
    assert found.classes["name"].tolist() == ["tench", "gold fish"]  # Labels.json, not open_clip
    assert found.summary["names_from"] == "Labels.json"
    only_val = index("imagenet100", tmp_path, options={"expect": None, "splits": ["val"]})
    assert set(only_val.manifest["split"]) == {"val"}
    with pytest.raises(DatasetError) as error:
        index("imagenet100", tmp_path)
    assert "val: 2 images found, 5000 expected" in str(error.value)
    assert f"train: classes without their 1300 images: {TENCH}: 1, {GOLDFISH}: 1" in str(
        error.value
    )


def test_imagenet100_without_labels_json_says_so(two_classes, index):
    with pytest.raises(DatasetError, match="lacks Labels.json; it holds masks, train, val"):
        index("imagenet100", two_classes)


@pytest.mark.parametrize("given", ["list", "text file", "json file"])
def test_imagenet100_by_wnids_from_kaggles_imagenet(kaggle, index, given):
    wnids = [TENCH]
    if given == "text file":
        wnids = kaggle / "wnids.txt"
        wnids.write_text(f"{TENCH} tench\n\n")
    if given == "json file":
        wnids = kaggle / "wnids.json"
        wnids.write_text(json.dumps({TENCH: "tench"}))
    found = index("imagenet100", kaggle, options={"expect": None, "wnids": wnids})
    assert found.classes["label"].tolist() == [TENCH]
    assert columns(found, "split", "label") == [("train", TENCH), ("val", TENCH), ("val", TENCH)]


def test_imagenet100_by_wnids_from_the_folder_layout(tmp_path, picture, index):
    for wnid in (TENCH, GOLDFISH):
        picture(tmp_path / "train" / wnid / "a.JPEG")
    found = index("imagenet100", tmp_path, options={"expect": None, "wnids": [GOLDFISH]})
    assert columns(found, "path") == [(f"train/{GOLDFISH}/a.JPEG",)]
    with pytest.raises(DatasetError, match="has no images of these wnids: n02077923"):
        index("imagenet100", tmp_path, options={"wnids": [GOLDFISH, "n02077923"]})
    with pytest.raises(DatasetError, match="must hold ids such as n01440764; found goldfish"):
        index("imagenet100", tmp_path, options={"wnids": ["goldfish"]})
    with pytest.raises(DatasetError, match="wnids points at none.txt, which is not a file"):
        index("imagenet100", tmp_path, options={"wnids": "none.txt"})
    with pytest.raises(DatasetError, match="1 classes found, 100 expected"):
        index("imagenet100", tmp_path, options={"wnids": [GOLDFISH]})
