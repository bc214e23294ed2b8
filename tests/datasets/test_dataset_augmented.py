"""Augmented sets: operations against NumPy, rows that round-trip, digests, pixels that are read."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clip_sae.datasets.augment import augment_image, augment_index, operation_list
from clip_sae.datasets.images import decode_image
from clip_sae.datasets.listing import DatasetError
from clip_sae.datasets.manifest import read_index, read_manifest, write_index

PAPER = {
    "rotate": [-20, -10, 10, 20],
    "crop": [5, 10, 15],
    "contrast": [1.1, 1.2, 1.3],
    "flip": True,
}


def random_image(size, seed=0, mode="RGB"):
    shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], len(mode))
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, np.uint8), mode)


@settings(max_examples=50, deadline=None)
@given(
    width=st.integers(8, 60),
    height=st.integers(8, 60),
    percent=st.integers(1, 60),
    mode=st.sampled_from(["RGB", "L"]),
)
def test_a_crop_keeps_the_middle(width, height, percent, mode):
    image = random_image((width, height), mode=mode)
    pixels = np.asarray(image)
    left, top = (round(side * percent / 200) for side in (width, height))
    expected = pixels[top : height - top, left : width - left]
    cropped = augment_image(image, "crop", str(percent))
    np.testing.assert_array_equal(np.asarray(cropped), expected)
    assert expected.size < pixels.size or percent * max(width, height) <= 200


@settings(max_examples=50, deadline=None)
@given(factor=st.floats(0.5, 2), seed=st.integers(0, 100), low=st.integers(0, 100))
def test_contrast_moves_values_away_from_the_mean_grey(factor, seed, low):
    pixels = np.random.default_rng(seed).integers(low, 156, (9, 7, 3), np.uint8)
    grey = pixels.astype(int) @ [19595, 38470, 7471] + 0x8000 >> 16  # Pillow's luma, 16 bits
    mean = int(grey.mean() + 0.5)
    expected = np.clip(mean + factor * (pixels.astype(np.float64) - mean), 0, 255)
    changed = augment_image(Image.fromarray(pixels), "contrast", f"{factor:.12g}")
    assert np.abs(np.asarray(changed) - expected).max() <= 1.0  # truncated, not rounded


def test_a_flip_mirrors_left_and_right():
    image = random_image((9, 7))
    flipped = augment_image(image, "flip", "horizontal")
    np.testing.assert_array_equal(np.asarray(flipped), np.asarray(image)[:, ::-1])


def test_a_rotation_turns_counter_clockwise_around_the_middle():
    image = random_image((11, 11))
    quarter = augment_image(image, "rotate", "90")
    np.testing.assert_array_equal(np.asarray(quarter), np.rot90(np.asarray(image)))
    pixels = np.zeros((41, 41), np.uint8)
    pixels[18:23, 33:38] = 255  # right of the middle
    turned = np.asarray(augment_image(Image.fromarray(pixels), "rotate", "20")).astype(float)
    rows, columns = np.indices(turned.shape)
    centre = (rows * turned).sum() / turned.sum() - 20, (columns * turned).sum() / turned.sum() - 20
    expected = -15 * np.sin(np.deg2rad(20)), 15 * np.cos(np.deg2rad(20))  # up: a smaller row
    np.testing.assert_allclose(centre, expected, atol=0.3)
    white = Image.new("L", (41, 41), 255)
    assert np.asarray(augment_image(white, "rotate", "10"))[0, 0] == 0


@pytest.mark.parametrize("mode", ["CMYK", "RGBA"])
def test_other_modes_become_rgb_and_no_operation_changes_nothing(mode):
    image = random_image((8, 8), mode=mode)
    assert augment_image(image, "", "") is image
    assert augment_image(image, "flip", "horizontal").mode == "RGB"


def test_operations_of_a_config_block():
    assert operation_list({"flip": False, "rotate": [-10, 12.5]}) == [
        ("rotate", "-10"),
        ("rotate", "12.5"),
    ]
    assert len(operation_list(PAPER)) == 11
    for block, message in (
        ({"crop": [100]}, "crop cannot use '100'; its parameter is percent"),
        ({"contrast": [0]}, "contrast cannot use '0'; its parameter is a factor above 0"),
        ({"rotate": [181]}, "degrees from -180 to 180"),
        ({"blur": [1]}, "'blur' does not exist; there are rotate, crop, contrast, flip"),
        ({"rotate": [10, 10.0]}, "listed twice: rotate 10"),
    ):
        with pytest.raises(ValueError, match=message):
            operation_list(block)


def test_every_image_has_a_row_per_operation_and_the_files_round_trip(two_classes, index, tmp_path):
    write_index(index("imagenet", two_classes), tmp_path / "source")
    source = read_index(tmp_path / "source")
    found = augment_index(source, operation_list(PAPER), ["train"])
    assert len(found.manifest) == 6 * 12 and set(found.manifest["split"]) == {"train"}
    assert found.summary["splits"] == {"train": 72} and found.summary["n_images"] == 72
    assert found.summary["operations"][0] == "rotate -20"
    write_index(found, tmp_path / "augmented")
    rows = read_manifest(tmp_path / "augmented", "train")
    assert rows.groupby("path").size().tolist() == [12] * 6
    first = rows[rows["path"] == rows["path"].iloc[0]]
    assert first["operation"].value_counts().to_dict() == {
        "rotate": 4,
        "crop": 3,
        "contrast": 3,
        "flip": 1,
        "": 1,
    }
    assert set(first["parameter"]) >= {"-20", "1.1", "horizontal", ""}
    assert first["label"].nunique() == 1
    assert read_index(tmp_path / "augmented").fingerprint == found.fingerprint


def test_the_fingerprint_follows_the_source_and_the_operations(two_classes, index):
    def fingerprint(operations, content=False):
        options = {"fingerprint": "content"} if content else {}
        source = index("imagenet", two_classes, options=options)
        return augment_index(source, operation_list(operations), ["train"]).fingerprint

    before = fingerprint({"rotate": [10]})
    assert fingerprint({"rotate": [10]}) == before
    different = {before, fingerprint({"rotate": [-10]}), fingerprint({}), fingerprint(PAPER)}
    different |= {fingerprint({"rotate": [10]}, content=True)}
    image = two_classes / "val" / "cat" / "0.png"  # not even a split of the augmented set
    image.write_bytes(image.read_bytes() + b"\0")
    assert len(different | {fingerprint({"rotate": [10]})}) == 6


def test_skipped_images_keep_one_row(two_classes, index):
    (two_classes / "train" / "cat" / "0.png").write_bytes(b"")
    source = index("imagenet", two_classes, on_bad_image="skip")
    found = augment_index(source, operation_list(PAPER), ["train"])
    assert len(found.manifest) == 5 * 12 + 1
    assert found.summary["n_skipped"] == 1


def test_augmented_sets_are_refused_as_a_source_and_splits_must_exist(two_classes, index):
    source = index("imagenet", two_classes)
    with pytest.raises(DatasetError, match="no images of test; splits found: train, val"):
        augment_index(source, [], ["train", "test"])
    once = augment_index(source, [("flip", "horizontal")], ["train"])
    with pytest.raises(DatasetError, match="takes one operation"):
        augment_index(once, [("rotate", "10")], ["train"])


def test_the_operation_comes_before_clips_own_resizing(tmp_path, picture):
    path = picture(tmp_path / "a.png", size=(40, 24))
    flipped = decode_image(path, image_size=12, operation="flip", parameter="horizontal")
    np.testing.assert_array_equal(flipped, decode_image(path, image_size=12)[:, ::-1])
    cropped = Image.open(path).crop((4, 2, 36, 22))
    cropped.save(tmp_path / "b.png")
    np.testing.assert_array_equal(
        decode_image(path, image_size=12, operation="crop", parameter="20"),
        decode_image(tmp_path / "b.png", image_size=12),
    )
    with pytest.raises(ValueError, match="'blur' does not exist"):
        decode_image(path, image_size=12, operation="blur", parameter="1")
