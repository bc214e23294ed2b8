"""SCAM, a typographic benchmark with a metadata file (Table 2)."""

import json
from pathlib import Path

from clip_sae.datasets.listing import (
    DatasetError,
    Listing,
    compare_with_disk,
    contents,
    require_columns,
    rows_of,
    some,
)
from clip_sae.planning.kinds import Expected, Option, kind

TYPES = ("SCAM", "NoSCAM", "SynthSCAM")
COLUMNS = ("file_name", "type", "object_label", "attack_word")


@kind(
    "scam",
    layout="`[images/][train/]metadata.jsonl` and the images that it names",
    options={
        "type": Option(
            {"enum": [*TYPES]},
            "SCAM: a real note with a word (the default); NoSCAM: the same photograph with an "
            "empty note; SynthSCAM: the word drawn into NoSCAM",
        )
    },
    published={"scam": Expected(total=1_162)},  # Westerhoff et al. 2025: images of one type
)
def load_scam(root: Path, options: dict) -> Listing:
    """SCAM (Westerhoff et al. 2025): an object and a note with a word.

    `word` is the attack word also where the picture does not show it, because the two-way protocol
    scores object against word; `attr_written` is 1 where the picture shows it.
    """
    wanted = options.get("type", "SCAM")
    folders = ("", "train/", "images/", "images/train/")
    found = [folder for folder in folders if (root / f"{folder}metadata.jsonl").is_file()]
    if not found:
        raise DatasetError(
            f"{root} has no metadata.jsonl, nor images/train/metadata.jsonl; it holds "
            f"{contents(root)}."
        )
    source = f"{found[0]}metadata.jsonl"
    images = _json_lines(root / source)
    odd = sorted({image["type"] for image in images} - set(TYPES))
    if odd:
        raise DatasetError(f"{root / source} has images of type {some(odd)}; known: {TYPES}.")
    paths = [found[0] + image["file_name"] for image in images]
    ignored = compare_with_disk(root, paths, source)
    words = {image["attack_word"] for image in images}
    labels = sorted({image["object_label"] for image in images} | words)
    chosen = [(p, i) for p, i in zip(paths, images, strict=True) if i["type"] == wanted]
    rows = rows_of(
        [path for path, _ in chosen],
        "test",
        [image["object_label"] for _, image in chosen],
        [image["attack_word"] for _, image in chosen],
        attr_written=[int(wanted != "NoSCAM")] * len(chosen),
    )
    return Listing(rows, labels, published="scam", ignored=ignored)


def _json_lines(path: Path) -> list[dict]:
    """Return the objects in a file of JSON lines, each with all of `COLUMNS`."""
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            if line.strip():
                found.append(json.loads(line))
        except ValueError as error:
            raise DatasetError(f"{path}, line {number}, is not JSON ({error}).") from None
    require_columns(sorted(set.intersection(*map(set, found or [()]))), COLUMNS, path)
    return found
