"""From manifest rows to pixels: as the rows say, so images of an augmented set are turned."""

import numpy as np
import pytest
from PIL import Image

from clip_sae.datasets.augment import augment_index, operation_list
from clip_sae.datasets.images import decode_image
from clip_sae.datasets.manifest import read_index, read_manifest, write_index
from clip_sae.datasets.pixels import each_image, pixels_by_row, pixels_of
from clip_sae.planning.inputs import ImageFiles

SIZE = 16
OPERATIONS = {"rotate": [90, 180], "crop": [50], "flip": True}
# Each row's pixels, from those of the plain image; another test checks the crop.
EXPECTED = {
    ("", ""): lambda pixels: pixels,
    ("rotate", "90"): np.rot90,
    ("rotate", "180"): lambda pixels: pixels[::-1, ::-1],
    ("flip", "horizontal"): lambda pixels: pixels[:, ::-1],
}


@pytest.fixture
def augmented(tmp_path, picture, index) -> ImageFiles:
    """Two square images of CLIP's size, each as it is and with every operation."""
    root = tmp_path / "images"
    for name in ("a", "b"):
        picture(root / "train" / "cat" / f"{name}.png", size=(SIZE, SIZE))
    source = index("imagenet", root)
    write_index(source, tmp_path / "source")
    found = augment_index(read_index(tmp_path / "source"), operation_list(OPERATIONS), ["train"])
    write_index(found, tmp_path / "index")
    decoding = {"image_size": SIZE, "preprocess": "clip", "exif": "apply", "max_pixels": 10**6}
    return ImageFiles("turned", tmp_path / "index", root, decoding)


def test_rows_of_an_augmented_set_come_out_turned_mirrored_and_cropped(augmented):
    manifest = read_manifest(augmented.index)
    assert len(manifest) == 2 * 5
    pixels = pixels_of(augmented, manifest)
    assert pixels.shape == (10, SIZE, SIZE, 3) and pixels.dtype == np.uint8
    for row, found in zip(manifest.itertuples(), pixels, strict=True):
        plain = np.asarray(Image.open(augmented.root / row.path))
        if row.operation == "crop":
            middle = Image.fromarray(plain[4:12, 4:12])
            expected = np.asarray(middle.resize((SIZE, SIZE), Image.Resampling.BICUBIC))
        else:
            expected = EXPECTED[row.operation, row.parameter](plain)
        np.testing.assert_array_equal(found, expected)


def test_plain_rows_equal_decode_image(tmp_path, picture, index):
    root = tmp_path / "images"
    for i, size in enumerate([(40, 30), (17, 16), (30, 60)]):
        picture(root / "train" / "cat" / f"{i}.png", size=size)
    write_index(index("imagenet", root), tmp_path / "index")
    decoding = {"image_size": SIZE, "preprocess": "squash", "exif": "ignore", "max_pixels": 10**6}
    files = ImageFiles("plain", tmp_path / "index", root, decoding)
    manifest = read_manifest(files.index)
    for row, found in zip(manifest.itertuples(), each_image(files, manifest), strict=True):
        np.testing.assert_array_equal(found, decode_image(root / row.path, **decoding))
    larger = pixels_of(files, manifest, image_size=24)
    expected = [decode_image(root / p, **{**decoding, "image_size": 24}) for p in manifest["path"]]
    np.testing.assert_array_equal(larger, np.stack(expected))


def test_pixels_by_row_are_those_of_the_rows_each_once(augmented):
    manifest = read_manifest(augmented.index)
    found = pixels_by_row(augmented, [7, 2, 7])
    assert [*found] == [2, 7]
    for row, pixels in found.items():
        np.testing.assert_array_equal(pixels, pixels_of(augmented, manifest.loc[[row]])[0])
