"""ImageNet-1k in its folder and Kaggle layouts, and ImageNet-100 in three forms.

Paper: activations and SAEs of all figures, zero-shot CE (Tables 3, 4), Table 2's validation set.
"""

import json
from pathlib import Path

import pandas as pd

from clip_sae.datasets.class_names import are_wnids, imagenet_names
from clip_sae.datasets.listing import (
    SPLITS,
    ClassFolders,
    DatasetError,
    Listing,
    compare_with_disk,
    contents,
    entries,
    require,
    some,
    wanted_splits,
)

KAGGLE_DATA = "ILSVRC/Data/CLS-LOC"
KAGGLE_SOLUTION = "LOC_val_solution.csv"
KAGGLE_SYNSETS = "LOC_synset_mapping.txt"


def load_imagenet(root: Path, options: dict) -> Listing:
    """`<root>/{train,val,test}/<class>/<image>`; other folders beside the splits are ignored.

    A `test` folder without class folders (ImageNet's has no labels) is ignored too.
    """
    found = ClassFolders(root)
    _add_split_folders(found, "", options)
    rows = found.rows()
    # A folder layout whose classes are not wnids is somebody else's data: no published counts.
    published = "imagenet" if are_wnids(rows["label"].unique()) else None
    return _listing(found, rows, options, "openai", _first_file(root), published)


def load_imagenet_kaggle(root: Path, options: dict) -> Listing:
    """Kaggle's `ILSVRC/Data/CLS-LOC/{train,val}`; val flat with `LOC_val_solution.csv`, or sorted
    into wnid folders by the user.
    """
    found = ClassFolders(root)
    rows = _kaggle_rows(found, options)
    return _listing(found, rows, options, "openai", _first_file(root), "imagenet_kaggle")


def load_imagenet100(root: Path, options: dict) -> Listing:
    """ImageNet-100: Kaggle's `train.X1…`, `val.X`, `Labels.json`; its merged form (`{train,val}`
    and `Labels.json`, in the root or in `data/`); or, with the option `wnids` (a list, or a file
    with one wnid per line, or a Labels.json), taken out of ImageNet-1k in either layout.
    """
    if "wnids" in options:
        return _derived(root, options)
    prefix = "data" if (root / "data" / "Labels.json").is_file() else ""
    base = root / prefix
    require(base, "Labels.json")
    labels = sorted(json.loads((base / "Labels.json").read_text(encoding="utf-8")))
    found = ClassFolders(root, labels)
    parts = [name for name in entries(base)[0] if name.startswith(("train.X", "val.X"))]
    for name in parts:
        if name.split(".")[0] in wanted_splits(options):
            found.add_split(f"{prefix}/{name}" if prefix else name, name.split(".")[0])
    if not parts:
        _add_split_folders(found, prefix, options)
    rows = found.rows()
    return _listing(found, rows, options, "synset", base / "Labels.json", "imagenet100", labels)


def _derived(root: Path, options: dict) -> Listing:
    wnids = _read_wnids(options["wnids"])
    found = ClassFolders(root, wnids)
    if (root / KAGGLE_DATA).is_dir():
        rows = _kaggle_rows(found, options)
    else:
        _add_split_folders(found, "", options)
        rows = found.rows()
    missing = [wnid for wnid in wnids if wnid not in set(rows["label"])]
    if missing:
        raise DatasetError(f"{root} has no images of these wnids: {some(missing)}.")
    return _listing(
        found, rows, options, "synset", _first_file(root), "imagenet100_by_wnids", wnids
    )


def _read_wnids(given: list[str] | str | Path) -> list[str]:
    if isinstance(given, str | Path):
        path = Path(given)
        if not path.is_file():
            raise DatasetError(f"wnids points at {path}, which is not a file.")
        text = path.read_text(encoding="utf-8")
        given = list(json.loads(text)) if path.suffix == ".json" else text.split("\n")
    wnids = sorted({line.split()[0] for line in given if line.strip()})
    if not are_wnids(wnids):
        wrong = [wnid for wnid in wnids if not are_wnids([wnid])]
        raise DatasetError(f"wnids must hold ids such as n01440764; found {some(wrong) or 'none'}.")
    return wnids


def _add_split_folders(found: ClassFolders, prefix: str, options: dict) -> None:
    base = found.root / prefix
    folders = entries(base)[0] if base.is_dir() else []
    for split in wanted_splits(options):
        if split in folders:
            folder = f"{prefix}/{split}" if prefix else split
            if split == "test" and not entries(base / split)[0]:
                found.ignored.append(folder)
            else:
                found.add_split(folder, split)
    found.ignored += [name for name in folders if name not in SPLITS]
    if not found.n_images:
        raise DatasetError(
            f"{base} has no images in {', '.join(f'{s}/<class>/' for s in wanted_splits(options))}"
            f"; it holds {contents(base)}."
        )


def _kaggle_rows(found: ClassFolders, options: dict) -> pd.DataFrame:
    root, splits = found.root, wanted_splits(options)
    require(root, *(f"{KAGGLE_DATA}/{s}" for s in ("train", "val") if s in splits))
    val = f"{KAGGLE_DATA}/val"
    val_is_flat = "val" in splits and not entries(root / val)[0]
    for split in ("train", "val"):
        if split in splits and not (split == "val" and val_is_flat):
            found.add_split(f"{KAGGLE_DATA}/{split}", split)
    if not val_is_flat:
        return found.rows()
    require(root, KAGGLE_SOLUTION)
    solution = pd.read_csv(root / KAGGLE_SOLUTION, dtype=str, keep_default_na=False)
    flat = pd.DataFrame(
        {
            "path": val + "/" + solution["ImageId"] + ".JPEG",
            "split": "val",
            # "n03995372 85 1 499 272 …": the wnid, then its boxes
            "label": solution["PredictionString"].str.split(" ").str[0],
            "word": "",
        }
    )
    found.ignored += compare_with_disk(root, flat["path"], KAGGLE_SOLUTION)
    if found.classes is not None:
        flat = flat[flat["label"].isin(found.classes)]
    return pd.concat([found.rows(), flat], ignore_index=True)


def _first_file(root: Path) -> Path | None:
    paths = (root / name for name in (KAGGLE_SYNSETS, "Labels.json"))
    return next((path for path in paths if path.is_file()), None)


def _listing(
    found: ClassFolders,
    rows: pd.DataFrame,
    options: dict,
    names: str,
    synset_file: Path | None,
    published: str | None,
    labels: list[str] | None = None,
) -> Listing:
    labels = sorted(set(rows["label"])) if labels is None else labels
    names_of, source = imagenet_names(labels, options.get("names", names), synset_file)
    return Listing(rows, labels, names_of, source, published, ignored=found.ignored)
