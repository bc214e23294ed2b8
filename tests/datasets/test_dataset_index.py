"""Bad images, fingerprints, options and the files of an index (issue 2.5)."""

import hashlib
import json
import subprocess
import sys

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_sae.datasets.listing import DatasetError
from clip_sae.datasets.manifest import (
    DatasetIndex,
    arrange,
    read_classes,
    read_manifest,
    write_index,
)


def test_bad_images_stop_the_index_and_all_are_named(two_classes, index):
    (two_classes / "train" / "cat" / "0.png").write_bytes(b"")
    (two_classes / "val" / "cat" / "1.png").write_bytes(b"<html>")
    with pytest.raises(DatasetError) as error:
        index("imagenet", two_classes)
    message = str(error.value)
    assert "2 of the 10 images" in message and "on_bad_image: skip" in message
    assert "train/cat/0.png: the file is empty (0 bytes)" in message
    assert "val/cat/1.png: not an image of a known format" in message


def test_skipped_images_are_listed_and_counted(two_classes, index, tmp_path):
    (two_classes / "train" / "cat" / "0.png").write_bytes(b"")
    found = index("imagenet", two_classes, on_bad_image="skip")
    assert found.summary["n_skipped"] == 1
    assert found.summary["skipped"] == ["train/cat/0.png: the file is empty (0 bytes)"]
    write_index(found, tmp_path / "index")
    rows = read_manifest(tmp_path / "index", "train")
    assert len(rows) == 6  # a skipped image keeps its row
    assert rows["status"].tolist() == ["skipped"] + ["ok"] * 5
    assert rows["reason"].tolist() == ["the file is empty (0 bytes)"] + [""] * 5


def test_max_pixels_reaches_the_images(two_classes, index):
    found = index("imagenet", two_classes, on_bad_image="skip", max_pixels=119)
    assert found.summary["n_skipped"] == 10
    assert "12 x 10 pixels are more than max_pixels = 119" in found.summary["skipped"][0]


def test_summary_counts_odd_images(two_classes, picture, index):
    picture(two_classes / "train" / "cat" / "grey.png", mode="L")
    picture(two_classes / "train" / "cat" / "wrong.jpg", format="PNG")
    exif = {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"}
    picture(two_classes / "train" / "cat" / "turned.png", **exif)
    summary = index("imagenet", two_classes).summary
    assert summary["pixel_modes"] == {"L": 1, "RGB": 12}
    assert summary["n_wrong_extension"] == 1 and summary["n_exif_rotated"] == 1
    assert summary["n_images"] == 13 and summary["n_classes"] == 2
    json.dumps(summary)


def test_workers_progress_and_place_change_nothing(two_classes, index, tmp_path):
    one, many = index("imagenet", two_classes), index("imagenet", two_classes, workers=4)
    moved = two_classes.rename(tmp_path / "elsewhere")
    third = index("imagenet", moved, max_pixels=10_000)
    assert one.fingerprint == many.fingerprint == third.fingerprint
    pd.testing.assert_frame_equal(one.manifest, many.manifest)
    pd.testing.assert_frame_equal(one.manifest, third.manifest)
    assert len(one.fingerprint) == 64


@pytest.mark.parametrize("change", ["size", "name", "extra", "class names", "skipped"])
def test_the_fingerprint_changes_with_the_data(two_classes, picture, index, change):
    before = index("imagenet", two_classes).fingerprint
    image = two_classes / "val" / "cat" / "0.png"
    options, on_bad_image = {}, "error"
    if change == "size":
        image.write_bytes(image.read_bytes() + b"\0")
    elif change == "name":
        image.rename(image.with_name("zero.png"))
    elif change == "extra":
        picture(two_classes / "val" / "cat" / "9.png")
    elif change == "class names":
        options = {"class_names": {"cat": "tabby", "traffic_light": "traffic light"}}
    else:
        image.write_bytes(b"x" * image.stat().st_size)  # same size, no longer an image
        on_bad_image = "skip"
    after = index("imagenet", two_classes, options=options, on_bad_image=on_bad_image)
    assert after.fingerprint != before


def test_content_fingerprint_sees_what_size_does_not(two_classes, index):
    image = two_classes / "val" / "cat" / "0.png"
    twin = bytearray(image.read_bytes())
    options = {"fingerprint": "content", "check": "none"}
    by_content = index("imagenet", two_classes, options=options).fingerprint
    by_size = index("imagenet", two_classes, options={"check": "none"}).fingerprint
    twin[-1] ^= 1
    image.write_bytes(twin)
    assert index("imagenet", two_classes, options=options).fingerprint != by_content
    assert index("imagenet", two_classes, options={"check": "none"}).fingerprint == by_size


def test_round_trip_through_files(two_classes, index, tmp_path):
    found = index("imagenet", two_classes)
    write_index(found, tmp_path / "a" / "index")
    folder = tmp_path / "a" / "index"
    names = ["classes.csv", "fingerprint.json", "manifest.csv", "summary.json"]
    assert sorted(path.name for path in folder.iterdir()) == names
    for read, wrote in (
        (read_manifest(folder), found.manifest),
        (read_classes(folder), found.classes),
    ):
        pd.testing.assert_frame_equal(read, wrote, check_dtype=False)
        assert read.to_csv() == wrote.to_csv()
    assert read_manifest(folder)["label_idx"].dtype == "int64"
    assert json.loads((folder / "fingerprint.json").read_text())["fingerprint"] == found.fingerprint
    header = "path,split,label,label_idx,word,operation,parameter,status,reason"
    assert (folder / "manifest.csv").read_text().splitlines()[0] == header


def test_one_split_keeps_the_row_numbers_of_the_file(two_classes, index, tmp_path):
    write_index(index("imagenet", two_classes), tmp_path / "index")
    val = read_manifest(tmp_path / "index", "val")
    assert val.index.tolist() == [6, 7, 8, 9] and set(val["split"]) == {"val"}
    with pytest.raises(DatasetError, match="has no split 'test'; its splits are train, val"):
        read_manifest(tmp_path / "index", "test")


def test_writing_the_same_index_again_touches_nothing(two_classes, index, tmp_path):
    write_index(index("imagenet", two_classes), tmp_path / "index")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "index").iterdir()}
    write_index(index("imagenet", two_classes), tmp_path / "index")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "index").iterdir()} == before


def test_a_change_rewrites_the_files_it_concerns(two_classes, index, tmp_path):
    write_index(index("imagenet", two_classes), tmp_path / "index")
    inode = {path.name: path.stat().st_ino for path in (tmp_path / "index").iterdir()}
    names = {"class_names": {"cat": "tabby", "traffic_light": "light"}}
    write_index(index("imagenet", two_classes, options=names), tmp_path / "index")
    now = {path.name: path.stat().st_ino for path in (tmp_path / "index").iterdir()}
    assert now["manifest.csv"] == inode["manifest.csv"]
    assert now["classes.csv"] != inode["classes.csv"]
    assert read_classes(tmp_path / "index")["name"].tolist() == ["tabby", "light"]


def test_incomplete_and_edited_indexes_are_refused(two_classes, index, tmp_path):
    found, folder = index("imagenet", two_classes), tmp_path / "index"
    write_index(found, folder)
    (folder / "manifest.csv").write_text("path,split\na.png,train\n")
    with pytest.raises(DatasetError, match="manifest.csv does not match fingerprint.json"):
        read_manifest(folder)
    write_index(found, folder)  # repairs it, fingerprint last
    assert len(read_manifest(folder)) == 10
    (folder / "fingerprint.json").unlink()
    with pytest.raises(
        DatasetError, match="no fingerprint.json: .*not indexed to the end. Run snak"
    ):
        read_classes(folder)


def test_options_and_kinds_are_closed_lists(two_classes, index):
    with pytest.raises(DatasetError, match="kind is 'imagnet'; it must be one of attacked_pairs, "):
        index("imagnet", two_classes)
    with pytest.raises(DatasetError, match="imagenet has no option target; its options are check,"):
        index("imagenet", two_classes, options={"target": "Male"})
    with pytest.raises(DatasetError, match="fingerprint is 'md5'; it must be one of size, content"):
        index("imagenet", two_classes, options={"fingerprint": "md5"})


def test_own_counts(two_classes, index):
    right = {"train": 6, "val": 4, "classes": 2, "total": 10}
    assert index("imagenet", two_classes, options={"expect": right}).summary["counts_checked"]
    with pytest.raises(DatasetError) as error:
        index("imagenet", two_classes, options={"expect": {"train": 7, "classes": 3, "total": 9}})
    for fault in (
        "train: 6 images found, 7 expected",
        "2 classes found, 3 expected",
        "10 images found, 9 expected",
    ):
        assert fault in str(error.value)
    with pytest.raises(DatasetError, match="no counts are published for this kind of set"):
        index("imagenet", two_classes, options={"expect": "official"})
    with pytest.raises(DatasetError, match="a mapping with train, val, test, total, classes"):
        index("imagenet", two_classes, options={"expect": {"trian": 6}})


def test_class_names_from_a_csv(two_classes, index, tmp_path):
    path = tmp_path / "names.csv"
    path.write_text("label,name\ncat,tabby cat\ntraffic_light,stop light\ndog,dog\n")
    found = index("imagenet", two_classes, options={"class_names": path})
    assert found.classes["name"].tolist() == ["tabby cat", "stop light"]
    path.write_text("label,name\ncat,tabby cat\n")
    with pytest.raises(DatasetError, match="no name for traffic_light; it must name every one of"):
        index("imagenet", two_classes, options={"class_names": path})
    path.write_text("class,title\n")
    with pytest.raises(DatasetError, match="lacks the columns label, name; it has class, title"):
        index("imagenet", two_classes, options={"class_names": path})
    with pytest.raises(DatasetError, match="none.csv, which is not a file"):
        index("imagenet", two_classes, options={"class_names": tmp_path / "none.csv"})


def test_augmented_rows_share_an_image_but_not_an_operation():
    row = {"path": "a.png", "split": "train", "label": "cat", "label_idx": 0, "word": ""}
    turned = [{**row, "operation": "rotate", "parameter": p} for p in ("20", "-20")]
    manifest = arrange(pd.DataFrame([*turned, {**row, "operation": "", "parameter": ""}]))
    assert manifest["parameter"].tolist() == ["", "-20", "20"]
    with pytest.raises(DatasetError, match="images are listed twice: a.png"):
        arrange(pd.DataFrame([turned[0], turned[0]]))


@settings(max_examples=25, deadline=None)
@given(
    texts=st.lists(
        st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8), min_size=1, max_size=5
    )
)
def test_any_label_and_word_survive_the_csv(tmp_path_factory, texts):
    folder = tmp_path_factory.mktemp("csv")
    manifest = arrange(
        pd.DataFrame(
            {
                "path": [f"{i}.png" for i in range(len(texts))],
                "split": "train",
                "label": texts,
                "label_idx": 0,
                "word": texts,
                "attr_x": 1,
                "status": "ok",
            }
        )
    )
    classes = pd.DataFrame({"label_idx": range(len(texts)), "label": texts, "name": texts})
    write_index(DatasetIndex(manifest, classes, hashlib.sha256().hexdigest(), {}), folder)
    assert read_manifest(folder)["label"].tolist() == texts
    assert read_manifest(folder)["word"].tolist() == texts
    assert read_classes(folder)["name"].tolist() == texts


def test_datasets_never_import_torch():
    code = (
        "import sys, clip_sae.datasets.step; from clip_sae.datasets.class_names import *; "
        "assert len(openai_names()) == 1000; "
        "print([m for m in ('torch', 'open_clip', 'timm', 'torchvision') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
