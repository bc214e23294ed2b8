"""No list and no manifest leads out of its data set's folder; links that people made may."""

import hashlib
import json
import os

import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clip_sae.datasets.inside import first_outside, is_inside, linked_outside
from clip_sae.datasets.listing import DatasetError
from clip_sae.datasets.manifest import read_index, read_manifest, write_index

OUTSIDE = ("../a.png", "/etc/passwd", "cat/../../a.png", "cat/..", "", "a\0.png")


def seal(folder, manifest: pd.DataFrame) -> None:
    """Put a manifest into place as a stranger would: whole, with a digest that fits."""
    data = manifest.to_csv(index=False, lineterminator="\n").encode()
    (folder / "manifest.csv").write_bytes(data)
    record = json.loads((folder / "fingerprint.json").read_text())
    record["sha256_manifest.csv"] = hashlib.sha256(data).hexdigest()
    (folder / "fingerprint.json").write_text(json.dumps(record))


@pytest.fixture
def made(two_classes, index, tmp_path):
    write_index(index("imagenet", two_classes), tmp_path / "index")
    return tmp_path / "index"


@pytest.mark.parametrize("path", [path for path in OUTSIDE if "\0" not in path])
def test_a_sealed_manifest_with_a_path_outside_is_refused(made, path):
    manifest = read_manifest(made)
    manifest.loc[7, "path"] = path
    seal(made, manifest)
    for read in (read_manifest, read_index, lambda folder: read_manifest(folder, "val")):
        with pytest.raises(DatasetError, match=r"manifest.csv, row 7: the path .* leads out of"):
            read(made)


def test_a_row_added_by_hand_breaks_the_seal(made):
    with open(made / "manifest.csv", "a") as file:
        file.write("../../secret.png,val,cat,0,,,,ok,\n")
    with pytest.raises(
        DatasetError, match="manifest.csv does not match .*: somebody cut or edited"
    ):
        read_manifest(made)


@given(parts=st.lists(st.sampled_from(["..", ".", "a", "...", "a..b", ""]), max_size=5))
@example(parts=["a", "b"])
def test_inside_paths_stay_below_the_root_after_joining(parts):
    path = "/".join(parts)
    joined = os.path.normpath(os.path.join("/data/set", path))
    if is_inside(path):
        assert joined == "/data/set" or joined.startswith("/data/set/")
    elif path and not path.startswith("/"):
        assert ".." in parts


def test_the_first_path_outside_is_found():
    assert first_outside(["a.png", "b/..c.png", "b/c..png"]) is None
    for path in (*OUTSIDE, None, 3.0):
        assert first_outside(["a.png", path, path]) == 1


def test_a_list_of_splits_is_refused_with_the_place(tmp_path, picture, index):
    picture(tmp_path / "set/a.jpg")
    picture(tmp_path / "b.jpg")
    lists = {"train": [["a.jpg", 0, "cat"], ["x/../../b.jpg", 0, "cat"]]}
    (tmp_path / "set/split_zhou.json").write_text(json.dumps(lists))
    with pytest.raises(DatasetError, match=r"json lists paths outside .*: x/../../b.jpg \(image 2"):
        index("split_file", tmp_path / "set")


def test_a_metadata_row_without_a_name_is_refused(tmp_path, picture, index):
    picture(tmp_path / "a.jpg")
    lines = ["img_filename,y,split,place", "a.jpg,0,0,0", ",1,0,1"]
    (tmp_path / "metadata.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(DatasetError, match=r"metadata.csv lists paths outside .*\(image 2 of the"):
        index("waterbirds", tmp_path, options={"expect": None})


def test_links_are_followed_and_counted(two_classes, index, tmp_path, picture):
    """Data on a shared disk: a linked root is the root, a linked class folder is said."""
    assert index("imagenet", two_classes).summary["n_linked_outside"] == 0
    (tmp_path / "link").symlink_to(two_classes)
    assert index("imagenet", tmp_path / "link").summary["n_linked_outside"] == 0
    cats = two_classes / "train" / "cat"
    cats.rename(tmp_path / "shared-cats")
    cats.symlink_to(tmp_path / "shared-cats")
    dog = two_classes / "val" / "cat" / "0.png"
    dog.rename(tmp_path / "one.png")
    dog.symlink_to(tmp_path / "one.png")
    (two_classes / "val" / "cat" / "1.png").unlink()
    (two_classes / "val" / "cat" / "1.png").symlink_to(two_classes / "train/traffic_light/0.png")
    found = index("imagenet", two_classes)
    assert found.summary["n_linked_outside"] == 4
    expected = ["train/cat/0.png", "train/cat/1.png", "train/cat/2.png", "val/cat/0.png"]
    assert found.summary["linked_outside"] == expected
    assert linked_outside(tmp_path / "link", found.manifest["path"].tolist()) == expected
    assert len(found.manifest) == 10


def test_a_root_that_is_a_prefix_of_another_folder_is_not_it(tmp_path, picture):
    picture(tmp_path / "set2" / "0.png")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "cat").symlink_to(tmp_path / "set2")
    assert linked_outside(tmp_path / "set", ["cat/0.png"]) == ["cat/0.png"]
