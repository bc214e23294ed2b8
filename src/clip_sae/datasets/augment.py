"""Augmented sets: operations on a photograph that keep its labels true, and the sets' indices.

Steering paper App. 10: the SAEs of Waterbirds saw "rotations (±10°, ±20°), 5–15% edge cropping,
contrast enhancements (factors of 1.1–1.3), and horizontal flips". The operations are applied while
pixels are read, before CLIP's own resizing, so no second copy of the images exists.

| operation  | parameter                                                                 |
|------------|---------------------------------------------------------------------------|
| `rotate`   | degrees, counter-clockwise; the corners that appear are black             |
| `crop`     | percent of the width and of the height that is cut off, half at each edge |
| `contrast` | factor by which values move away from the image's mean grey               |
| `flip`     | `horizontal`                                                              |
"""

from collections.abc import Callable, Mapping, Sequence

import pandas as pd
from PIL import Image, ImageEnhance

from clip_sae.datasets.listing import DatasetError, some
from clip_sae.datasets.manifest import DatasetIndex, arrange, fingerprint_of

NO_OPERATION = ""
HORIZONTAL = "horizontal"


def _rotate(image: Image.Image, degrees: str) -> Image.Image:
    # ASSUME: the paper does not mention the corners; the usual libraries default to black.
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


def augment_image(image: Image.Image, operation: str, parameter: str) -> Image.Image:
    """Return the image after one operation, L or RGB; the image itself without an operation.

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
            f"the operation {operation!r} does not exist; there are {', '.join(_APPLY)}."
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
    """Return [(operation, parameter)] for operations such as {rotate: [-10, 10], flip: true}.

    Parameters are the shortest decimal text of each number, for manifests and digests.
    Raises ValueError as `check_operation`, and for a repeated parameter.
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


def augment_index(
    source: DatasetIndex, operations: Sequence[tuple[str, str]], splits: Sequence[str]
) -> DatasetIndex:
    """Return the index of the augmented set: every image as it is, and once per operation.

    Args:
        source: from `read_index`. Its skipped images stay skipped, with one row each.
        operations: (operation, parameter), from `operation_list`.
        splits: the splits of the source that the set has.

    Raises DatasetError for a split that the source lacks, or a source that is augmented itself.
    """
    manifest = source.manifest[source.manifest["split"].isin(splits)]
    absent = sorted(set(splits) - set(manifest["split"]))
    if absent:
        found = ", ".join(sorted(set(source.manifest["split"]))) or "none"
        raise DatasetError(f"the source has no images of {some(absent)}; splits found: {found}.")
    if (manifest["operation"] != NO_OPERATION).any():
        raise DatasetError(
            "the source is an augmented set itself, and an image takes one operation. Name the "
            "set of photographs as `dataset` of `augment`."
        )
    usable = manifest[manifest["status"] == "ok"]
    edited = [usable.assign(operation=name, parameter=value) for name, value in operations]
    rows = arrange(pd.concat([manifest, *edited], ignore_index=True))
    skipped = rows[rows["status"] == "skipped"]
    counts = rows["split"].value_counts(sort=False)
    summary = {
        **source.summary,
        "kind": "augmented",
        "kind_of_source": source.summary["kind"],
        "operations": [" ".join(operation) for operation in operations],
        "n_images": len(rows),
        "n_skipped": len(skipped),
        "splits": {split: int(n) for split, n in counts.items()},
        "skipped": [f"{row.path}: {row.reason}" for row in skipped.head(50).itertuples()],
    }
    fingerprint = fingerprint_of(rows, source.classes, [source.fingerprint])
    return DatasetIndex(rows, source.classes, fingerprint, summary)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
