"""The demo world on disk: layouts of the real sets, exact shares, same bytes for any workers."""

import csv
import hashlib
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clip_sae.datasets.writing import staged_folder
from clip_sae_demo.celeba import ATTRIBUTES
from clip_sae_demo.plugin import WORLDS
from clip_sae_demo.scenes import draw_scene
from clip_sae_demo.sets import N_PAIRS, attack_pair, write_set
from clip_sae_demo.words import UNMATCHED, VOCABULARY
from clip_sae_demo.world import IMAGE_SIZE, OBJECTS, scene_rng

ATTACK_NAME = re.compile(r"^label=(.+)_text=(.+)\.(jpg|jpeg|png)$")
COUNTS = {"n_train": 100, "n_val": 48, "n_test": 60}


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("world")
    for name in WORLDS:
        write_set(name, root, seed=0, **COUNTS, progress=False)
    return root


@pytest.mark.parametrize("name", WORLDS)
def test_any_number_of_workers_writes_the_same_bytes(world, tmp_path, name):
    write_set(name, tmp_path, seed=0, **COUNTS, workers=2, progress=False)
    assert digests(tmp_path / name) == digests(world / name)


@pytest.mark.parametrize("name", WORLDS)
def test_another_seed_draws_other_images(world, tmp_path, name):
    write_set(name, tmp_path, seed=1, n_train=0, n_val=0, n_test=5, progress=False)
    ours, theirs = digests(tmp_path / name), digests(world / name)
    images = [path for path in ours if path.endswith((".png", ".jpg")) and "masks" not in path]
    assert images
    assert all(ours[path] != theirs.get(path) for path in images)


def test_nothing_but_the_sets_is_left(world):
    assert sorted(path.name for path in world.iterdir()) == [
        "celeba",
        "general",
        "negative",
        "typographic",
        "waterbirds",
    ]


def test_a_failed_run_leaves_the_previous_set(tmp_path):
    target = tmp_path / "general"
    with staged_folder(target) as folder:
        (folder / "old").touch()
    with pytest.raises(RuntimeError), staged_folder(target) as folder:
        (folder / "half").touch()
        raise RuntimeError
    assert [path.name for path in target.iterdir()] == ["old"]
    assert [path.name for path in tmp_path.iterdir()] == ["general"]


def test_general_is_an_imagenet_folder(world):
    folder = world / "general"
    for split, n in (("train", 100), ("val", 48), ("test", 60)):
        assert sorted(path.name for path in (folder / split).iterdir()) == sorted(OBJECTS)
        per_class = Counter(path.parent.name for path in (folder / split).rglob("*.png"))
        assert sum(per_class.values()) == n
        assert max(per_class.values()) - min(per_class.values()) <= 1
    assert (folder / "train" / "sun" / "sun_00001.png").is_file()
    with Image.open(folder / "train" / "sun" / "sun_00001.png") as image:
        assert (image.mode, image.size) == ("RGB", (IMAGE_SIZE, IMAGE_SIZE))
    assert {path.name for path in folder.iterdir()} == {
        "train",
        "val",
        "test",
        "masks",
        "scenes.csv",
    }


def test_general_test_images_have_masks(world):
    folder = world / "general"
    images = {p.relative_to(folder / "test") for p in (folder / "test").rglob("*.png")}
    masks = {
        p.relative_to(folder / "masks" / "test") for p in (folder / "masks").rglob("*.png")
    }  # fmt: skip
    assert images == masks
    for relative in list(masks)[:10]:
        mask = np.asarray(Image.open(folder / "masks" / "test" / relative))
        assert mask.shape == (IMAGE_SIZE, IMAGE_SIZE)
        assert set(np.unique(mask)) == {0, 255}


def test_negative_is_other_scenes_of_the_same_classes_in_negative_colours(world):
    folder = world / "negative"
    for relative in ("train/sun/sun_00001.png", "test/clock/clock_00002.png"):
        split, name, file = relative.split("/")
        index = OBJECTS.index(name) + len(OBJECTS) * (int(file[-9:-4]) - 1)
        scene = draw_scene(scene_rng(0, "negative", split, index), name)
        np.testing.assert_array_equal(np.asarray(Image.open(folder / relative)), 255 - scene.image)
        mask = folder / "masks" / relative
        if split == "test":
            np.testing.assert_array_equal(np.asarray(Image.open(mask)) > 0, scene.mask)
        assert mask.exists() == (split == "test")
        other = np.asarray(Image.open(world / "general" / relative))
        assert not np.array_equal(other, scene.image)


def test_general_lists_what_it_shows(world):
    listed = rows(world / "general" / "scenes.csv")
    assert {row["path"] for row in listed} == {
        str(p.relative_to(world / "general"))
        for p in (world / "general").rglob("*.png")
        if "masks" not in p.parts
    }


def test_typographic_names_parse(world):
    folder = world / "typographic"
    for split, n in (("train", 100), ("val", 48), ("test", 60)):
        names = [path.name for path in (folder / split).iterdir()]
        assert len(names) == n
        pairs = [ATTACK_NAME.match(name).groups()[:2] for name in names]
        assert all(label != word and {label, word} <= set(OBJECTS) for label, word in pairs)
        for side in zip(*pairs, strict=True):  # balanced as labels and as words
            counts = Counter(side)
            assert max(counts.values()) - min(counts.get(name, 0) for name in OBJECTS) <= 1
    listed = rows(folder / "attacks.csv")
    assert len(listed) == 208
    for row in listed:
        assert row["path"] == f"{row['split']}/label={row['label']}_text={row['word']}.png"
        assert (folder / row["path"]).is_file()
        assert 0 <= int(row["left"]) < int(row["right"]) <= IMAGE_SIZE


def test_full_typographic_split_has_every_pair_once():
    assert len({attack_pair(0, "test", index) for index in range(N_PAIRS)}) == N_PAIRS == 552


def test_too_many_pairs_are_refused(tmp_path):
    with pytest.raises(ValueError, match="at most 552"):
        write_set("typographic", tmp_path, seed=0, n_train=0, n_val=0, n_test=553)
    assert not list(tmp_path.iterdir())


def test_senseless_counts_are_refused(tmp_path):
    with pytest.raises(ValueError, match="negative"):
        write_set("general", tmp_path, seed=0, n_train=-1, n_val=0, n_test=5)
    with pytest.raises(ValueError, match="positive"):
        write_set("celeba", tmp_path, seed=0, n_train=0, n_val=0, n_test=0)


def test_waterbirds_metadata_is_official(world):
    folder = world / "waterbirds"
    listed = rows(folder / "metadata.csv")
    assert list(listed[0]) == ["img_id", "img_filename", "y", "split", "place", "place_filename"]
    assert [int(row["img_id"]) for row in listed] == list(range(1, 209))
    assert {row["img_filename"] for row in listed} == {
        str(path.relative_to(folder)) for path in folder.rglob("*.jpg")
    }
    cells = Counter((int(r["split"]), int(r["y"]), int(r["place"])) for r in listed)
    assert sum(n for (split, _, _), n in cells.items() if split == 0) == 100
    aligned = cells[0, 0, 0] + cells[0, 1, 1]
    assert aligned / 100 == pytest.approx(0.95, abs=0.011)
    for split in (1, 2):  # half and half within each family
        for family in (0, 1):
            assert abs(cells[split, family, 0] - cells[split, family, 1]) <= 1
    waterbirds = {"Heron", "Duck", "Flamingo", "Swan"}
    for row in listed:
        assert (int(row["y"]) == 1) == (row["img_filename"].split("/")[0][4:] in waterbirds)


def test_celeba_lists_are_official(world):
    folder = world / "celeba"
    lines = (folder / "list_attr_celeba.txt").read_text().splitlines()
    assert lines[0] == "208"
    assert tuple(lines[1].split()) == ATTRIBUTES and len(ATTRIBUTES) == 40
    names = [line.split()[0] for line in lines[2:]]
    assert names == [f"{number:06d}.jpg" for number in range(1, 209)]
    assert all((folder / "img_align_celeba" / name).is_file() for name in names)
    values = np.array([line.split()[1:] for line in lines[2:]], dtype=int)
    assert values.shape == (208, 40) and set(np.unique(values)) == {-1, 1}
    partition = dict(
        line.split() for line in (folder / "list_eval_partition.txt").read_text().splitlines()
    )
    assert Counter(partition.values()) == {"0": 100, "1": 48, "2": 60}
    male = values[:, ATTRIBUTES.index("Male")] == 1
    blond = values[:, ATTRIBUTES.index("Blond_Hair")] == 1
    train = np.array([partition[name] for name in names]) == "0"
    assert (male & blond & train).sum() == 2  # 2 % of train
    assert (~male & blond & train).sum() == 14
    assert (male & blond & ~train).sum() >= 4


def test_vocabulary_has_words_with_and_without_a_match():
    assert len(VOCABULARY) == len(set(VOCABULARY)) >= 200
    assert len(UNMATCHED) >= 100
    assert not set(UNMATCHED) & set(OBJECTS)


@pytest.mark.parametrize("name", WORLDS)
def test_test_images_do_not_depend_on_the_other_splits(world, tmp_path, name):
    write_set(name, tmp_path, seed=0, n_train=0, n_val=0, n_test=60, progress=False)
    alone = set(digests(tmp_path / name).values())
    whole = set(digests(world / name).values())
    assert len(alone & whole) >= 60
