"""decode_image against open_clip's own transform, and every odd format on purpose (issue 2.5)."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clip_sae.datasets.images import MAX_ASPECT, BadImageError, check_image, decode_image


def noise(width: int, height: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def smooth(width: int, height: int) -> np.ndarray:
    """Colours that change slowly, so that JPEG barely alters them."""
    y, x = np.mgrid[:height, :width]
    return np.stack([40 + 4 * x, 60 + 4 * y, 250 - 2 * x - 2 * y], -1).astype(np.uint8)


def open_clip_pixels(image: Image.Image, image_size: int, resize_mode: str) -> np.ndarray:
    """The PIL half of open_clip's transform: everything before ToTensor and Normalize."""
    from open_clip.transform import image_transform

    transform = image_transform(image_size, is_train=False, resize_mode=resize_mode)
    for step in transform.transforms[:-2]:
        image = step(image)
    return np.asarray(image)


@settings(max_examples=25, deadline=None)
@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    image_size=st.sampled_from([7, 32, 56]),
    preprocess=st.sampled_from(["clip", "squash"]),
    mode=st.sampled_from(["RGB", "L", "RGBA", "CMYK"]),
)
def test_pixels_equal_open_clips_byte_for_byte(
    tmp_path_factory, width, height, image_size, preprocess, mode
):
    # RGBA here is opaque, as the PAINT set's is.
    image = Image.fromarray(noise(width, height)).convert(mode)
    path = tmp_path_factory.getbasetemp() / f"twin-{mode}.tif"
    image.save(path)
    resize_mode = {"clip": "shortest", "squash": "squash"}[preprocess]
    expected = open_clip_pixels(image, image_size, resize_mode)
    pixels = decode_image(path, image_size=image_size, preprocess=preprocess)
    assert pixels.dtype == np.uint8 and pixels.shape == (image_size, image_size, 3)
    np.testing.assert_array_equal(pixels, expected)


def test_a_square_of_the_right_size_is_not_touched(tmp_path):
    pixels = noise(20, 20)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    for preprocess in ("clip", "squash"):
        decoded = decode_image(tmp_path / "a.png", image_size=20, preprocess=preprocess)
        np.testing.assert_array_equal(decoded, pixels)
    assert decoded.flags.writeable and decoded.flags.c_contiguous


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_exif_orientation_is_applied_or_ignored(tmp_path, orientation, suffix):
    stored = noise(16, 16)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned.{suffix}"
    options = {"webp": {"lossless": True}, "jpg": {"quality": 100, "subsampling": 0}}
    Image.fromarray(stored).save(path, exif=exif, **options.get(suffix, {}))
    upright = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.transpose(1, 0, 2),
        6: np.rot90(stored, -1),
        7: np.rot90(stored, 2).transpose(1, 0, 2),
        8: np.rot90(stored, 1),
    }[orientation]
    tolerance = 12 if suffix == "jpg" else 0  # JPEG is lossy
    applied = decode_image(path, image_size=16, exif="apply").astype(int)
    assert np.abs(applied - upright).max() <= tolerance
    if suffix != "tif":  # Pillow itself turns TIFFs, whatever one asks
        ignored = decode_image(path, image_size=16, exif="ignore").astype(int)
        assert np.abs(ignored - stored).max() <= tolerance
        assert check_image(path).orientation == orientation


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow says so, and reads on
def test_damaged_exif_does_not_spoil_the_image(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(noise(16, 16)).save(path, exif=b"Exif\0\0MM\0*\xff\xff\xff\xff garbage")
    assert decode_image(path, image_size=16).shape == (16, 16, 3)
    assert check_image(path).orientation == 1


def test_greyscale_becomes_three_equal_channels(tmp_path):
    grey = noise(12, 12, 1)[:, :, 0]
    Image.fromarray(grey).save(tmp_path / "a.png")
    pixels = decode_image(tmp_path / "a.png", image_size=12)
    np.testing.assert_array_equal(pixels, np.repeat(grey[:, :, None], 3, axis=2))


def test_sixteen_bit_grey_keeps_its_high_byte(tmp_path):
    values = np.arange(0, 65536, 256, dtype=np.uint16).reshape(16, 16) + 17
    Image.fromarray(values).save(tmp_path / "a.png")
    Image.fromarray(values).save(tmp_path / "a.tif")
    for name in ("a.png", "a.tif"):
        pixels = decode_image(tmp_path / name, image_size=16)
        np.testing.assert_array_equal(pixels[:, :, 1], values >> 8)
        assert check_image(tmp_path / name).mode.startswith("I;16")


def test_sixteen_bit_pgm_keeps_its_high_byte(tmp_path):
    values = np.arange(0, 65536, 256, dtype=np.uint16).reshape(16, 16)
    (tmp_path / "a.pgm").write_bytes(b"P5 16 16 65535\n" + values.astype(">u2").tobytes())
    np.testing.assert_array_equal(
        decode_image(tmp_path / "a.pgm", image_size=16)[:, :, 0], values >> 8
    )


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_are_laid_over_white(tmp_path, mode):
    rgba = noise(8, 8, 4)
    rgba[:4, :, 3], rgba[4:, :, 3] = 0, 255
    image = Image.fromarray(rgba, "RGBA").convert(mode)
    image.save(tmp_path / "a.png")
    pixels = decode_image(tmp_path / "a.png", image_size=8)
    assert (pixels[:4] == 255).all()
    np.testing.assert_array_equal(pixels[4:], np.asarray(image.convert("RGB"))[4:])


def test_palette_is_resized_in_colour_and_its_transparency_is_white(tmp_path):
    image = Image.fromarray(smooth(24, 24)).quantize(16)
    image.save(tmp_path / "opaque.png")
    in_colour = image.convert("RGB").resize((8, 8), Image.Resampling.BICUBIC)
    pixels = decode_image(tmp_path / "opaque.png", image_size=8)
    np.testing.assert_array_equal(pixels, np.asarray(in_colour))
    image.save(tmp_path / "clear.gif", transparency=image.getpixel((0, 0)))
    assert (decode_image(tmp_path / "clear.gif", image_size=24)[0, 0] == 255).all()


def test_one_bit_images_have_black_and_white(tmp_path):
    image = Image.fromarray(noise(16, 16)).convert("1")
    image.save(tmp_path / "a.png")
    pixels = decode_image(tmp_path / "a.png", image_size=16)
    np.testing.assert_array_equal(pixels[:, :, 2], np.asarray(image) * np.uint8(255))


def test_cmyk_jpeg_has_the_colours_it_was_made_of(tmp_path):
    rgb = smooth(32, 32)
    Image.fromarray(rgb).convert("CMYK").save(tmp_path / "a.jpg", quality=100, subsampling=0)
    pixels = decode_image(tmp_path / "a.jpg", image_size=32).astype(int)
    assert check_image(tmp_path / "a.jpg").mode == "CMYK"
    assert np.abs(pixels - rgb).max() <= 8


def test_the_content_decides_not_the_extension(tmp_path):
    pixels = noise(16, 16)
    Image.fromarray(pixels).save(tmp_path / "a.jpg", format="PNG")
    np.testing.assert_array_equal(decode_image(tmp_path / "a.jpg", image_size=16), pixels)
    facts = check_image(tmp_path / "a.jpg")
    assert facts.format == "PNG" and facts.mislabelled
    assert (facts.width, facts.height) == (16, 16)


def test_animation_gives_its_first_frame(tmp_path):
    first, second = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    assert tuple(decode_image(tmp_path / "a.gif", image_size=8)[4, 4]) == (255, 0, 0)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty (0 bytes)"),
        (b"<!DOCTYPE html>", "not an image of a known format (begins with b'<!DOCTYP')"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\0", "not an image of a known format"),
    ],
)
def test_files_that_are_no_images_are_refused_with_their_reason(tmp_path, data, reason):
    path = tmp_path / "bad.jpg"
    path.write_bytes(data)
    for read in (check_image, lambda p: decode_image(p, image_size=8)):
        with pytest.raises(BadImageError) as error:
            read(path)
        assert error.value.path == path
        assert error.value.reason.startswith(reason)
        assert str(tmp_path) not in error.value.reason
        assert str(path) in str(error.value) and "on_bad_image: skip" in str(error.value)


@pytest.mark.parametrize("options", [{"format": "PNG"}, {"format": "JPEG"}, {"format": "WEBP"}])
@pytest.mark.parametrize("progressive", [False, True])
def test_cut_files_are_refused_by_check_and_decode_alike(tmp_path, options, progressive):
    whole = io.BytesIO()
    Image.fromarray(noise(40, 40)).save(whole, progressive=progressive, **options)
    data = whole.getvalue()
    path = tmp_path / "cut.jpg"
    for share in (0.02, 0.3, 0.7, 0.95):
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(BadImageError):
            check_image(path)
        with pytest.raises(BadImageError):
            decode_image(path, image_size=8)


def test_corrupt_png_is_refused(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(noise(40, 40)).save(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(BadImageError, match="cannot be decoded"):
        check_image(path)
    with pytest.raises(BadImageError, match="cannot be decoded"):
        decode_image(path, image_size=8)


def test_too_many_pixels_and_elongated_images_are_refused(tmp_path):
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    with pytest.raises(BadImageError, match="30 x 20 pixels are more than max_pixels = 599"):
        decode_image(tmp_path / "a.png", image_size=8, max_pixels=599)
    assert check_image(tmp_path / "a.png", max_pixels=600).width == 30
    Image.new("L", (MAX_ASPECT + 1, 1)).save(tmp_path / "b.png")
    with pytest.raises(BadImageError, match="101 x 1 is more elongated than 100 to 1"):
        check_image(tmp_path / "b.png")


def test_pixels_without_a_defined_white_are_refused(tmp_path):
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "a.tif")
    for read in (check_image, lambda p: decode_image(p, image_size=8)):
        with pytest.raises(BadImageError, match="pixels of mode F have no defined black and white"):
            read(tmp_path / "a.tif")


def test_a_missing_file_is_the_disks_fault_not_the_images(tmp_path):
    with pytest.raises(FileNotFoundError):
        decode_image(tmp_path / "none.png", image_size=8)


def test_misspelt_choices_are_named(tmp_path):
    with pytest.raises(ValueError, match="preprocess is 'crop'; it must be one of clip, squash"):
        decode_image(tmp_path / "a.png", image_size=8, preprocess="crop")
    with pytest.raises(ValueError, match="exif is True; it must be one of apply, ignore"):
        decode_image(tmp_path / "a.png", image_size=8, exif=True)
