"""Typographic benchmarks in their published layouts, good and broken (Table 2)."""

import json
import os
from pathlib import Path

import pytest

from clip_sae.datasets.listing import DatasetError

ANY = {"expect": None}


WRAPPERS = {"rta100": "data", "paint": "typographic_attacks"}


@pytest.mark.parametrize("kind", WRAPPERS)
def test_archives_that_wrap_their_images_in_a_folder(tmp_path, picture, index, kind):
    wrapper = WRAPPERS[kind]
    names = ("label=dog_text=cat.png", "label=hot dog_text=TV.JPG")
    for name in names:
        picture(tmp_path / "set" / wrapper / name)
    found = index(kind, tmp_path / "set", options=ANY)
    assert found.manifest["path"].tolist() == [f"{wrapper}/{name}" for name in names]
    assert found.classes["label"].tolist() == ["TV", "cat", "dog", "hot dog"]
    flat = index(kind, tmp_path / "set" / wrapper, options=ANY)
    assert flat.manifest["path"].tolist() == list(names)
    n = {"rta100": 1000, "paint": 110}[kind]
    with pytest.raises(DatasetError, match=f"whole {kind} set:\n  2 images found, {n} expected"):
        index(kind, tmp_path / "set")


NOTES = {
    "IMG_2934.JPG": {"true object": "mug", "typographic attack label": "plate"},
    "IMG_2935.JPG": {"true object": "mug", "typographic attack label": ""},
    "IMG_2936.jpg": {"true object": "cell_phone", "typographic attack label": "None"},
    "IMG_2937.JPG": {"true object": "pen", "typographic attack label": "mug"},
}


@pytest.fixture
def materzynska(tmp_path, picture):
    """Writes one of the layouts and returns its folder."""

    def write(annotations="annotations.json", folder="", notes=NOTES, classes=None) -> Path:
        root = tmp_path / "materzynska"
        for name in notes:
            picture(root / folder / name)
        (root / annotations).write_text(json.dumps(notes))
        if classes is not None:
            (root / "classes.json").write_text(json.dumps(classes))
        return root

    return write


@pytest.mark.parametrize("annotations", ["annotations.json", "annotation.json"])
@pytest.mark.parametrize("folder", ["", "images"])
def test_materzynska_by_annotations(materzynska, index, annotations, folder):
    found = index("materzynska", materzynska(annotations, folder), options=ANY)
    rows = found.manifest
    assert rows["path"].tolist() == [f"{folder}/{n}".lstrip("/") for n in sorted(NOTES)]
    assert rows["label"].tolist() == ["mug", "mug", "cell_phone", "pen"]
    assert rows["word"].tolist() == ["plate", "", "", "mug"]
    assert found.classes["label"].tolist() == ["cell_phone", "mug", "pen", "plate"]
    assert found.classes["name"].tolist()[0] == "cell phone"
    assert set(rows["split"]) == {"test"}


def test_materzynska_by_file_names(tmp_path, picture, index):
    picture(tmp_path / "m" / "label=mug_text=plate.JPG")
    picture(tmp_path / "m" / "label=mug_text=.jpg")
    found = index("materzynska", tmp_path / "m", options=ANY)
    assert sorted(found.manifest["word"]) == ["", "plate"]


def test_materzynska_with_defence_prefixes_class_list(materzynska, index):
    listed = {"mug": 0, "plate": 1, "cell_phone": 2, "pen": 3, "pill bottle": 4}
    root = materzynska(folder="images", classes=listed)
    options = {"classes": "file", **ANY}
    assert index("materzynska", root, options=options).classes["label"].tolist() == sorted(listed)
    del listed["plate"]
    (root / "classes.json").write_text(json.dumps(list(listed)))
    with pytest.raises(DatasetError, match="classes.json lacks plate; write `classes: union`"):
        index("materzynska", root, options=options)
    (root / "classes.json").unlink()
    with pytest.raises(DatasetError, match="has no classes.json; it holds annotations.json"):
        index("materzynska", root, options=options)
    with pytest.raises(DatasetError, match="classes is 'all'; it must be one of union, file"):
        index("materzynska", root, options={"classes": "all"})


def test_materzynska_has_180_images(materzynska, index):
    with pytest.raises(DatasetError, match="whole materzynska set:\n  4 images found, 180 exp"):
        index("materzynska", materzynska())


BROKEN = {
    "cut": ('{"IMG_1.JPG": ', "annotations.json is not JSON"),
    "a list": ("[1]", "holds a list, not a map"),
    "empty": ("{}", "must map file names to 'true object' and .*; nothing does not"),
    "without an attack": ('{"a.JPG": {"true object": "mug"}}', "a.JPG does not"),
    "lost images": (
        '{"a.JPG": {"true object": "mug", "typographic attack label": "pen"}}',
        "1 of the 1 images that annotations.json lists are missing",
    ),
    "outside": (
        '{"../a.JPG": {"true object": "mug", "typographic attack label": "pen"}}',
        "annotations.json lists paths outside",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_annotations_get_a_sentence(materzynska, index, name):
    text, message = BROKEN[name]
    root = materzynska()
    (root / "annotations.json").write_text(text)
    with pytest.raises(DatasetError, match=message):
        index("materzynska", root, options=ANY)


def test_a_folder_of_anything_else_is_no_materzynska(two_classes, index):
    with pytest.raises(DatasetError, match="has neither annotations.json nor images named label="):
        index("materzynska", two_classes)


def scam_rows():
    for number, (label, word) in enumerate((("mug", "taxi"), ("pen", "mug")), start=1):
        for kind in ("SCAM", "NoSCAM", "SynthSCAM"):
            yield {
                "file_name": f"{kind}_{number}.png",
                "type": kind,
                "object_label": label,
                "attack_word": word,
                "postit_area_pct": 3.5,
                "id": f"{kind}_{number}",
            }


@pytest.fixture
def scam(tmp_path, picture):
    def write(folder="images/train", rows=None) -> Path:
        rows = list(scam_rows()) if rows is None else rows
        for row in rows:
            picture(tmp_path / "scam" / folder / row["file_name"])
        text = "\n".join(map(json.dumps, rows)) + "\n"
        (tmp_path / "scam" / folder / "metadata.jsonl").write_text(text)
        return tmp_path / "scam"

    return write


@pytest.mark.parametrize("folder", [".", "train", "images", "images/train"])
def test_scam_in_every_place_of_its_archive(scam, index, folder):
    found = index("scam", scam(folder), options=ANY)
    prefix = "" if folder == "." else f"{folder}/"
    assert found.manifest["path"].tolist() == [f"{prefix}SCAM_1.png", f"{prefix}SCAM_2.png"]
    assert found.manifest["word"].tolist() == ["taxi", "mug"]
    assert (found.manifest["attr_written"] == 1).all()
    assert found.classes["label"].tolist() == ["mug", "pen", "taxi"]
    assert found.summary["n_ignored"] == 0


def test_scam_keeps_the_rival_word_of_a_photograph_without_it(scam, index):
    found = index("scam", scam(), options={"type": "NoSCAM", **ANY})
    assert found.manifest["path"].str.contains("/NoSCAM_").all()
    assert found.manifest["word"].tolist() == ["taxi", "mug"]
    assert (found.manifest["attr_written"] == 0).all()
    drawn = index("scam", scam(), options={"type": "SynthSCAM", **ANY})
    assert (drawn.manifest["attr_written"] == 1).all()


def test_broken_scam_gets_a_sentence(scam, index, tmp_path):
    root = scam()
    with pytest.raises(DatasetError, match="whole scam set:\n  2 images found, 1162 expected"):
        index("scam", root)
    with pytest.raises(DatasetError, match="type is 'all'; it must be one of SCAM, NoSCAM"):
        index("scam", root, options={"type": "all"})
    path = root / "images/train/metadata.jsonl"
    whole = path.read_text()
    path.write_text(whole[:-20])
    with pytest.raises(DatasetError, match="metadata.jsonl, line 6, is not JSON"):
        index("scam", root, options=ANY)
    path.write_text(whole.replace('"NoSCAM"', '"Other"'))
    with pytest.raises(DatasetError, match="has images of type Other; known"):
        index("scam", root, options=ANY)
    path.write_text('{"file_name": "a.png"}\n')
    with pytest.raises(DatasetError, match="lacks the columns type, object_label, attack_word"):
        index("scam", root, options=ANY)
    path.unlink()
    with pytest.raises(DatasetError, match="has no metadata.jsonl"):
        index("scam", root, options=ANY)


@pytest.mark.parametrize("name", ["rta100", "paint"])
def test_real_photographs_by_their_own_kind(index, name):
    photos = os.environ.get("CLIP_SAE_PHOTOS")
    if not photos:
        pytest.skip("CLIP_SAE_PHOTOS does not point at a folder with rta100/ and paint/")
    found = index(name, Path(photos) / name)  # checks the published number of images
    assert found.summary["n_skipped"] == 0
    assert (found.manifest["word"] != "").all()
