"""Decode image files to the uint8 pixels that CLIP sees, with a rule for every odd format.

Paper: the inputs of all figures and tables; the authors `squash` for steering (Figs 5-7).

Odd formats:

- greyscale: copied to three channels;
- CMYK and YCbCr: resized as they are, then converted to RGB, as open_clip does;
- transparency (RGBA, LA, palette or tRNS): laid over white, as viewers do. open_clip drops the
  alpha channel instead and shows hidden colours; opaque images come out the same;
- palette and 1-bit: converted to RGB before resizing (Pillow resizes palettes by nearest pixel);
- 16-bit grey: the high byte, as Pillow itself does for 16-bit colour (`convert` would clip);
- float and 32-bit pixels: refused, because their white level is unknown;
- EXIF orientation: applied (`apply`) or ignored (`ignore`, as CLIP pipelines do; Pillow
  itself always turns TIFFs);
- a wrong extension: the content decides; animations: the first frame; colour profiles: ignored;
- empty, truncated, corrupt, too large or too elongated: `BadImageError` with path and reason.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from clip_sae.datasets.augment import NO_OPERATION, augment_image
from clip_sae.datasets.listing import EXTENSIONS

# Pillow always takes larger files for decompression bombs.
MAX_PIXELS = 178_956_970
# A 1 x 100,000 image passes any limit on pixels and still explodes when its short side grows.
MAX_ASPECT = 100
# A closed list, because Pillow would also run Ghostscript on files that claim to be images.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
PREPROCESS = ("clip", "squash")
EXIF = ("apply", "ignore")

_EXIF_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class BadImageError(ValueError):
    """An unusable image, with its `path` and the `reason` (without the path)."""

    def __init__(self, path: Path, reason: str):
        self.path = Path(path)
        self.reason = reason
        super().__init__(
            f"{path}: {reason}. Replace the file, or set `on_bad_image: skip` for its data set "
            f"and index it again."
        )


@dataclass(frozen=True)
class ImageFacts:
    """Properties of one checked image; `orientation` is EXIF's, 1 (upright) to 8."""

    format: str
    mode: str
    width: int
    height: int
    orientation: int
    mislabelled: bool


def decode_image(
    path: Path,
    *,
    image_size: int,
    preprocess: str = "clip",
    exif: str = "apply",
    max_pixels: int = MAX_PIXELS,
    operation: str = NO_OPERATION,
    parameter: str = "",
) -> np.ndarray:
    """Return the pixels that CLIP sees: uint8 0...255, [height, width, channel], RGB.

    `preprocess="clip"`: short side to `image_size` (bicubic), then the centre square; the same
    bytes as open_clip's own transform. `"squash"`: both sides to `image_size`. Before that,
    the upright image undergoes the `operation` of its manifest row (see `augment`).
    Raises BadImageError for an image that cannot be used, OSError if the disk fails.
    """
    _known("preprocess", preprocess, PREPROCESS)
    _known("exif", exif, EXIF)
    with _opened(path, max_pixels) as image:
        upright = _resizable(image, path)
        # Read after decoding: Pillow turns a TIFF while it decodes and then drops the tag.
        orientation = _orientation(image) if exif == "apply" else 1
        if orientation in _TURNS:
            upright = upright.transpose(_TURNS[orientation])
        upright = augment_image(upright, operation, parameter)
        square = (
            _squash(upright, image_size) if preprocess == "squash" else _crop(upright, image_size)
        )
        return np.array(square.convert("RGB"), dtype=np.uint8)  # [height width channel]


def check_image(path: Path, *, max_pixels: int = MAX_PIXELS) -> ImageFacts:
    """Read the whole file once and return its properties; raise as `decode_image`.

    JPEGs are decoded at an eighth of their size: every byte is read, in a third of the time.
    """
    with _opened(path, max_pixels) as image:
        _treatment(image, path)
        mode, (width, height), kind = image.mode, image.size, _format(image)
        image.draft("L", (max(1, width // 8), max(1, height // 8)))
        image.load()
        expected = EXTENSIONS.get(Path(path).suffix.lower())
        return ImageFacts(
            kind, mode, width, height, _orientation(image), mislabelled=kind != expected
        )


def _known(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(choices)}.")


@contextmanager
def _opened(path: Path, max_pixels: int) -> Iterator[Image.Image]:
    """Yield the image with its size checked; turn errors of decoding into BadImageError."""
    path = Path(path)
    if path.stat().st_size == 0:
        raise BadImageError(path, "the file is empty (0 bytes)")
    try:
        with Image.open(path, formats=FORMATS) as image:
            _check_size(path, image.size, max_pixels)
            yield image
    except (BadImageError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise BadImageError(
            path, f"not an image of a known format ({_first_bytes(path)})"
        ) from error
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, struct.error, ...
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk or the network failed, not the image
        reason = " ".join(str(error).replace(str(path), path.name).split())
        raise BadImageError(path, f"cannot be decoded ({reason})") from error


def _first_bytes(path: Path) -> str:
    with open(path, "rb") as file:
        return f"begins with {file.read(8)!r}"


def _check_size(path: Path, size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise BadImageError(
            path, f"{width} x {height} pixels are more than max_pixels = {max_pixels}"
        )
    if max(size) > MAX_ASPECT * min(size):
        raise BadImageError(path, f"{width} x {height} is more elongated than {MAX_ASPECT} to 1")


def _format(image: Image.Image) -> str:
    # MPO: a JPEG with further pictures behind the first, as phones write it.
    return "JPEG" if image.format == "MPO" else str(image.format)


def _treatment(image: Image.Image, path: Path) -> str:
    """Return the way to 8-bit colour: as is, over white, convert (a palette), or high byte."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return "high byte"
    if image.has_transparency_data:
        return "over white"
    if image.mode in ("1", "P", "HSV", "RGBX"):
        return "convert"
    if image.mode in ("L", "RGB", "CMYK", "YCbCr"):
        return "as is"
    raise BadImageError(
        path,
        f"pixels of mode {image.mode} have no defined black and white; save it as 8-bit",
    )


def _resizable(image: Image.Image, path: Path) -> Image.Image:
    """Return the image in a mode that can be resized: L, RGB, CMYK or YCbCr."""
    treatment = _treatment(image, path)
    image.load()
    if treatment == "high byte":
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if treatment == "over white":
        rgba = image.convert("RGBA")
        # ASSUME: the paper does not mention transparency; viewers show white.
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    if treatment == "convert":
        return image.convert("RGB")
    return image


def _orientation(image: Image.Image) -> int:
    try:
        orientation = int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # damaged EXIF data do not affect the pixels
        return 1
    return orientation if orientation in _TURNS else 1


def _squash(image: Image.Image, image_size: int) -> Image.Image:
    return image.resize((image_size, image_size), Image.Resampling.BICUBIC)


def _crop(image: Image.Image, image_size: int) -> Image.Image:
    """Resize the short side to `image_size`, cut the centre square; round as torchvision."""
    width, height = image.size
    short = min(width, height)
    size = (int(image_size * width / short), int(image_size * height / short))
    if size != image.size:
        image = image.resize(size, Image.Resampling.BICUBIC)
    left = round((size[0] - image_size) / 2)
    top = round((size[1] - image_size) / 2)
    return image.crop((left, top, left + image_size, top + image_size))
