"""Sets listed by their split: the JSON of prompt learning, and FGVC-Aircraft's text files."""

import json

import pytest

from clip_sae.datasets.listing import DatasetError

SPLIT = {
    "train": [["b/1.png", 1, "annual crop"], ["a/1.png", 0, "sea_lake"]],
    "val": [["a/2.png", 0, "sea_lake"]],
    "test": [["/b/2.png", 1, "annual crop"], ["a/3.png", 0, "sea_lake"]],
}


@pytest.fixture
def split_set(tmp_path, picture):
    """Writes a split file and its images, and returns the folder."""

    def write(split=SPLIT, folder="2750", name="split_zhou_EuroSAT.json"):
        root = tmp_path / "set"
        for rows in SPLIT.values():
            for path, _, _ in rows:
                picture(root / folder / path.lstrip("/"))
        (root / name).write_text(json.dumps(split))
        return root

    return write


def test_classes_keep_the_numbers_of_the_file(split_set, index):
    found = index("split_file", split_set(), options={"images": "2750"})
    assert found.classes["label"].tolist() == ["sea_lake", "annual crop"]  # not sorted by name
    assert found.classes["name"].tolist() == ["sea lake", "annual crop"]
    rows = set(found.manifest[["path", "split", "label_idx"]].itertuples(index=False, name=None))
    assert rows == {
        ("2750/b/1.png", "train", 1),
        ("2750/a/1.png", "train", 0),
        ("2750/a/2.png", "val", 0),
        ("2750/b/2.png", "test", 1),
        ("2750/a/3.png", "test", 0),
    }


def test_images_may_lie_next_to_the_file(split_set, index):
    found = index("split_file", split_set(folder="."))
    assert sorted(found.manifest["path"])[0] == "a/1.png"


def test_counts_are_checked_where_they_are_given(split_set, index):
    options = {"images": "2750", "expect": {"train": 3, "classes": 2}}
    with pytest.raises(DatasetError, match="train: 2 images found, 3 expected"):
        index("split_file", split_set(), options=options)


def test_a_listed_image_that_is_missing_is_named(split_set, index):
    root = split_set()
    (root / "2750/a/2.png").unlink()
    with pytest.raises(DatasetError, match=r"1 of the 5 images .*2750/a/2.png"):
        index("split_file", root, options={"images": "2750"})


FAULTS = {
    "a name with two numbers": (
        {"train": [["a/1.png", 0, "cat"], ["b/1.png", 1, "cat"]]}, "a name several numbers"),
    "not a list of three": ({"train": [["a/1.png", 0]]}, "class number, class name"),
    "no split": ({"training": []}, "lists no image"),
    "not a mapping": (["a/1.png"], "lists no image"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_broken_split_files_are_sentences(split_set, index, fault):
    split, sentence = FAULTS[fault]
    with pytest.raises(DatasetError, match=sentence):
        index("split_file", split_set(split), options={"images": "2750"})


def test_several_split_files_want_a_name(split_set, index):
    root = split_set()
    (root / "split_mine.json").write_text(json.dumps(SPLIT))
    with pytest.raises(DatasetError, match="Name it as the option `file`"):
        index("split_file", root, options={"images": "2750"})
    options = {"images": "2750", "file": "split_mine.json"}
    assert len(index("split_file", root, options=options).manifest) == 5


@pytest.fixture
def aircraft(tmp_path, picture):
    root = tmp_path / "aircraft"
    lists = {"train": ["0000002 F-16A/B", "0000001 707-320"], "val": ["0000003 707-320"],
             "test": ["0000004 F-16A/B"]}  # fmt: skip
    for split, lines in lists.items():
        (root / "images").mkdir(parents=True, exist_ok=True)
        (root / f"images_variant_{split}.txt").write_text("\n".join(lines) + "\n")
        for line in lines:
            picture(root / "images" / f"{line.split()[0]}.jpg")
    (root / "variants.txt").write_text("F-16A/B\n707-320\n")
    return root


def test_aircraft_in_the_order_of_its_variants(aircraft, index):
    found = index("fgvc_aircraft", aircraft)
    assert found.classes["label"].tolist() == ["F-16A/B", "707-320"]
    train = found.manifest[found.manifest["split"] == "train"].set_index("path")["label_idx"]
    assert train.to_dict() == {"images/0000001.jpg": 1, "images/0000002.jpg": 0}


def test_aircraft_with_an_unknown_variant_is_refused(aircraft, index):
    (aircraft / "variants.txt").write_text("707-320\n")
    with pytest.raises(DatasetError, match="variants.txt lacks: F-16A/B"):
        index("fgvc_aircraft", aircraft)
