"""Waterbirds and CelebA in their official files (§7.1; Tables 1, 5-8)."""

from pathlib import Path

import pandas as pd
import pytest

from clip_sae.datasets.listing import DatasetError
from clip_sae.datasets.manifest import attribute_columns
from clip_sae.planning.kinds import published

NAMES = ["Attractive", "Blond_Hair", "Male", "Young"]
VALUES = {  # image: (split, values of NAMES)
    "000001.jpg": (0, (1, -1, 1, 1)),
    "000002.jpg": (0, (1, 1, -1, -1)),
    "000003.jpg": (1, (-1, 1, 1, 1)),
    "000004.jpg": (2, (-1, -1, -1, 1)),
}


@pytest.fixture
def waterbirds(tmp_path, picture) -> Path:
    root = tmp_path / "waterbirds"
    rows = [
        (1, "001.Albatross/a.jpg", 1, 0, 1, "/o/ocean.jpg"),
        (2, "001.Albatross/b.jpg", 1, 2, 0, "/b/bamboo.jpg"),
        (3, "002.Jay/c.jpg", 0, 1, 0, "/b/bamboo.jpg"),
        (4, "002.Jay/d.jpg", 0, 0, 1, "/o/ocean.jpg"),
    ]
    for row in rows:
        picture(root / row[1])
    columns = ["img_id", "img_filename", "y", "split", "place", "place_filename"]
    pd.DataFrame(rows, columns=columns).to_csv(root / "metadata.csv", index=False)
    return root


def test_waterbirds(waterbirds, picture, index):
    picture(waterbirds / "002.Jay" / "extra.jpg")
    found = index("waterbirds", waterbirds, options={"expect": None})
    expected = [
        ("001.Albatross/b.jpg", "test", "waterbird", 1, 0),
        ("001.Albatross/a.jpg", "train", "waterbird", 1, 1),
        ("002.Jay/d.jpg", "train", "landbird", 0, 1),
        ("002.Jay/c.jpg", "val", "landbird", 0, 0),
    ]
    columns = ["path", "split", "label", "label_idx", "attr_water"]
    assert list(found.manifest[columns].itertuples(index=False, name=None)) == expected
    assert found.classes["name"].tolist() == ["landbird", "waterbird"]
    assert found.summary["ignored"] == ["002.Jay/extra.jpg"]


def test_waterbirds_groups_are_checked_by_default(waterbirds, index):
    with pytest.raises(DatasetError) as error:
        index("waterbirds", waterbirds)
    assert "train: 2 images found, 4795 expected" in str(error.value)
    assert "train: groups of (0, 1, 0, 1) images found, (3498, 184, 56, 1057)" in str(error.value)


def test_waterbirds_says_which_images_are_missing(waterbirds, index):
    (waterbirds / "002.Jay" / "c.jpg").unlink()
    with pytest.raises(
        DatasetError, match="1 of the 4 images that metadata.csv lists .*: 002.Jay/c"
    ):
        index("waterbirds", waterbirds)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("place", 2, r"metadata.csv, column place must hold \(0, 1\) only; found 2"),
        ("split", 3, r"column split must hold \(0, 1, 2\) only; found 3"),
        ("img_filename", "../b.jpg", "metadata.csv lists paths outside .*: ../b.jpg"),
        ("img_filename", "/etc/b.jpg", "metadata.csv lists paths outside .*: /etc/b.jpg"),
        ("img_filename", "002.Jay/c.jpg", "metadata.csv lists images twice: 002.Jay/c.jpg"),
    ],
)
def test_waterbirds_metadata_with_wrong_values(waterbirds, index, column, value, message):
    table = pd.read_csv(waterbirds / "metadata.csv")
    table.loc[1, column] = value
    table.to_csv(waterbirds / "metadata.csv", index=False)
    with pytest.raises(DatasetError, match=message):
        index("waterbirds", waterbirds, options={"expect": None})


def test_waterbirds_without_columns_or_file(waterbirds, index):
    table = pd.read_csv(waterbirds / "metadata.csv").drop(columns="place")
    table.to_csv(waterbirds / "metadata.csv", index=False)
    with pytest.raises(DatasetError, match="lacks the columns place; it has img_id, img_filename"):
        index("waterbirds", waterbirds)
    (waterbirds / "metadata.csv").unlink()
    with pytest.raises(DatasetError, match="lacks metadata.csv; it holds 001.Albatross, 002.Jay"):
        index("waterbirds", waterbirds)


def write_celeba(root: Path, picture, suffix: str, double_folder: bool) -> Path:
    folder = root / "img_align_celeba"
    for name in VALUES:
        picture((folder / "img_align_celeba" if double_folder else folder) / name)
    attributes, partition = [], []
    for name, (split, values) in VALUES.items():
        if suffix == "csv":
            attributes.append(",".join([name, *map(str, values)]))
            partition.append(f"{name},{split}")
        else:  # values are separated by one or two spaces in the original
            attributes.append(name + "".join(f"{value:3d}" for value in values))
            partition.append(f"{name} {split}")
    if suffix == "csv":
        attributes.insert(0, ",".join(["image_id", *NAMES]))
        partition.insert(0, "image_id,partition")
    else:
        attributes[:0] = [str(len(VALUES)), " ".join(NAMES) + " "]
    (root / f"list_attr_celeba.{suffix}").write_text("\n".join(attributes) + "\n")
    (root / f"list_eval_partition.{suffix}").write_text("\n".join(partition) + "\n")
    return root


@pytest.fixture
def celeba(tmp_path, picture) -> Path:
    return write_celeba(tmp_path, picture, "txt", double_folder=False)


@pytest.mark.parametrize("suffix", ["txt", "csv"])
@pytest.mark.parametrize("double_folder", [False, True])
def test_celeba_text_and_csv_single_and_double_folder(
    tmp_path, picture, index, suffix, double_folder
):
    write_celeba(tmp_path, picture, suffix, double_folder)
    found = index("celeba", tmp_path, options={"expect": None})
    assert attribute_columns(found.manifest) == ["attr_male", "attr_blond_hair"]
    columns = ["split", "label", "label_idx", "attr_male", "attr_blond_hair"]
    assert list(found.manifest[columns].itertuples(index=False, name=None)) == [
        ("test", "female", 0, 0, 0),
        ("train", "male", 1, 1, 0),
        ("train", "female", 0, 0, 1),
        ("val", "male", 1, 1, 1),
    ]
    folder = "img_align_celeba/img_align_celeba" if double_folder else "img_align_celeba"
    assert found.manifest["path"].iloc[0] == f"{folder}/000004.jpg"
    assert found.classes["name"].tolist() == ["woman", "man"]


def test_celeba_target_and_attribute_can_be_swapped_or_others(celeba, index):
    options = {"expect": None, "target": "Blond_Hair", "attribute": "Male"}
    swapped = index("celeba", celeba, options=options)
    assert swapped.classes["name"].tolist() == ["dark hair", "blond hair"]
    assert swapped.manifest["label_idx"].tolist() == [0, 0, 1, 1]
    other = index("celeba", celeba, options={"expect": None, "target": "Young"})
    assert other.classes["label"].tolist() == ["not_young", "young"]
    assert attribute_columns(other.manifest) == ["attr_young", "attr_blond_hair"]
    with pytest.raises(DatasetError, match="no attribute 'Mail'; it has Attractive, Blond_Hair"):
        index("celeba", celeba, options={"expect": None, "target": "Mail"})


def test_celeba_groups_are_checked_by_default(celeba, index):
    with pytest.raises(DatasetError) as error:
        index("celeba", celeba)
    assert "val: 1 images found, 19867 expected" in str(error.value)
    assert "val: groups of (0, 0, 0, 1) images found, (8535, 8276, 2874, 182)" in str(error.value)


def test_celeba_cut_or_edited_files_are_refused(celeba, index):
    path = celeba / "list_attr_celeba.txt"
    whole = path.read_text()
    path.write_text("\n".join(whole.splitlines()[:-1]) + "\n")
    with pytest.raises(
        DatasetError, match="says '4' images and names 4 attributes, but has 3 rows"
    ):
        index("celeba", celeba)
    path.write_text(whole.replace("000001.jpg  1", "000001.jpg  0"))
    with pytest.raises(
        DatasetError, match="must hold -1 and 1 only; the columns Attractive do not"
    ):
        index("celeba", celeba)
    path.write_text(whole.replace("000001.jpg", "000002.jpg"))
    with pytest.raises(DatasetError, match="lists images twice: 000002.jpg"):
        index("celeba", celeba)
    path.write_text(whole.replace("000001.jpg", "000009.jpg"))
    with pytest.raises(DatasetError, match="list different images: 000001.jpg, 000009.jpg"):
        index("celeba", celeba)
    path.unlink()
    with pytest.raises(DatasetError, match=r"lacks list_attr_celeba.txt \(or list_attr_celeba.csv"):
        index("celeba", celeba)


def test_celeba_says_which_images_are_missing(celeba, index):
    (celeba / "img_align_celeba" / "000003.jpg").unlink()
    with pytest.raises(DatasetError, match="1 of the 4 images that list_attr_celeba.txt lists"):
        index("celeba", celeba)


@pytest.mark.parametrize("name", ["waterbirds", "celeba"])
def test_published_groups_add_up_to_the_splits(name):
    for split, n in published()[name].splits.items():
        assert sum(published()[name].groups[split]) == n
