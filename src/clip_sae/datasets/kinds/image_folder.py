"""Generic image folders, for images of your own."""

from pathlib import Path

from clip_sae.datasets.listing import (
    ClassFolders,
    DatasetError,
    Listing,
    contents,
    entries,
    is_image_name,
    split_folders,
)
from clip_sae.planning.inputs import SPLITS
from clip_sae.planning.kinds import Option, kind

UNLABELLED = "unlabelled"


@kind(
    "image_folder",
    layout="`[<split>/]<class>/<image>`, or images without class folders",
    options={"split": Option({"enum": [*SPLITS]}, "split of images without split folders (train)")},
)
def load_image_folder(root: Path, options: dict) -> Listing:
    """Any images; those without class folders get the label "unlabelled"."""
    found = ClassFolders(root)
    for folder, split in split_folders(root, options, default="train"):
        folders, files = entries(root / folder)
        if folders:
            found.add_split(folder, split)
        elif any(is_image_name(name) for name in files):
            found.add_class(folder, split, UNLABELLED)
    rows = found.rows()
    if rows.empty:
        raise DatasetError(f"{root} has no images in its class folders; it holds {contents(root)}.")
    return Listing(rows, sorted(set(rows["label"])), ignored=found.ignored)
