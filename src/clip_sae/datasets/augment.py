"""Operations on a photograph that leave its labels true: turning, cropping, contrast, mirroring.

Steering paper App. 10: the SAEs of Waterbirds saw "rotations (±10°, ±20°), 5–15% edge cropping,
contrast enhancements (factors of 1.1–1.3), and horizontal flips". They are applied while pixels are
read, before CLIP's own resizing, so no second copy of the images exists.

| operation  | parameter                                                                 |
|------------|---------------------------------------------------------------------------|
| `rotate`   | degrees, counter-clockwise; the corners that appear are black             |
| `crop`     | percent of the width and of the height that is cut off, half at each edge |
| `contrast` | factor by which values move away from the image's mean grey               |
| `flip`     | `horizontal`                                                              |
"""

from collections.abc import Callable, Mapping, Sequence

from PIL import Image, ImageEnhance

NO_OPERATION = ""
HORIZONTAL = "horizontal"


def _rotate(image: Image.Image, degrees: str) -> Image.Image:
    # ASSUME: the paper is silent on the corners; black is the default of the usual libraries.
    return image.rotate(float(degrees), Image.Resampling.BICUBIC)


def _crop(image: Image.Image, percent: str) -> Image.Image:
    # ASSUME: "5–15% edge cropping" is the share of each side's length, taken from both ends alike.
    share = float(percent) / 200
    width, height = image.size
    left, top = round(width * share), round(height * share)
    return image.crop((left, top, width - left, height - top))


def _contrast(image: Image.Image, factor: str) -> Image.Image:
    return ImageEnhance.Contrast(image).enhance(float(factor))


def _flip(image: Image.Image, axis: str) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


_APPLY: Mapping[str, Callable[[Image.Image, str], Image.Image]] = {
    "rotate": _rotate,
    "crop": _crop,
    "contrast": _contrast,
    "flip": _flip,
}
_POSSIBLE: Mapping[str, Callable[[float], bool]] = {
    "rotate": lambda degrees: -180 <= degrees <= 180,
    "crop": lambda percent: 0 < percent < 100,
    "contrast": lambda factor: 0 < factor < float("inf"),
}
OPERATIONS = tuple(_APPLY)


def augment_image(image: Image.Image, operation: str, parameter: str) -> Image.Image:
    """Return the image after one operation, L or RGB; without an operation the image itself.

    Raises ValueError for an operation or a parameter that does not exist.
    """
    if operation == NO_OPERATION and not parameter:
        return image
    check_operation(operation, parameter)
    image = image if image.mode in ("L", "RGB") else image.convert("RGB")
    return _APPLY[operation](image, parameter)


def check_operation(operation: str, parameter: str) -> None:
    """Raise ValueError unless `augment_image` knows the operation and can use the parameter."""
    if operation not in _APPLY:
        raise ValueError(
            f"the operation {operation!r} does not exist; there are {', '.join(OPERATIONS)}."
        )
    if operation == "flip":
        possible = parameter == HORIZONTAL
    else:
        number = _number(parameter)
        possible = number is not None and _POSSIBLE[operation](number)
    if not possible:
        wanted = {
            "rotate": "degrees from -180 to 180",
            "crop": "percent, more than 0 and less than 100",
            "contrast": "a factor above 0",
            "flip": HORIZONTAL,
        }[operation]
        raise ValueError(f"{operation} cannot use {parameter!r}; its parameter is {wanted}.")


def operation_list(operations: Mapping[str, Sequence[float] | bool]) -> list[tuple[str, str]]:
    """Return [(operation, parameter)] of a config block, e.g. {rotate: [-10, 10], flip: true}.

    Parameters are the shortest decimal text of each number: they stand in manifests and digests.
    Raises ValueError as `check_operation`, and for a parameter that is given twice.
    """
    found = []
    for operation, values in operations.items():
        if operation == "flip":
            found += [("flip", HORIZONTAL)] if values else []
        else:
            found += [(operation, f"{value:.12g}") for value in values]
    for operation, parameter in found:
        check_operation(operation, parameter)
    twice = sorted({f"{o} {p}" for o, p in found if found.count((o, p)) > 1})
    if twice:
        raise ValueError(f"operations are listed twice: {', '.join(twice)}.")
    return found


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
