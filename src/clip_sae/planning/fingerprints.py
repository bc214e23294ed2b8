"""Fingerprints of local weights, cheap enough for parse time. Standard library only.

Weights are tracked by hash; a file is hashed again only if its size or time has changed.
"""

import hashlib
from pathlib import Path

from clip_sae.planning.architecture import CONFIG_NAME, ModelSource
from clip_sae.planning.specs import file_sha256, read_json

VOCABULARY_NAME = "vocabulary.json"  # next to the weights of a CLIP with a word-level tokenizer
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")


def local_files(source: ModelSource) -> list[Path]:
    """Return the files of a local CLIP, sorted by name; [] for tags and random weights."""
    if source.random_seed is not None:
        return []
    if source.folder is not None:
        weights = sorted(p for p in source.folder.glob("*") if p.suffix in WEIGHT_SUFFIXES)
        weights = [p for p in weights if p.suffix == ".safetensors"] or weights
        others = [source.folder / name for name in (CONFIG_NAME, VOCABULARY_NAME)]
        return sorted([*weights, *(p for p in others if p.is_file())], key=lambda p: p.name)
    path = Path(source.pretrained or "")
    return [path] if path.suffix in WEIGHT_SUFFIXES and path.is_file() else []


def local_fingerprint(source: ModelSource) -> str | None:
    """Return "random:SEED" or the sha256 over a local CLIP's files; None for tags of a hub."""
    if source.random_seed is not None:
        return f"random:{source.random_seed}"
    files = local_files(source)
    if not files:
        return None
    lines = "".join(f"{path.name} {file_sha256(path)}\n" for path in files)
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


def file_stats(source: ModelSource) -> list[dict]:
    """Return path, size (bytes) and time (ns) of each local file: the key of the cached hash."""
    stats = [(path, path.stat()) for path in local_files(source)]
    return [
        {"path": str(path), "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
        for path, stat in stats
    ]


def current_fingerprint(source: ModelSource, record_path: Path, name: str) -> str | None:
    """Return the current fingerprint of the weights, or None if it is unknown.

    Args:
        record_path: the COMPLETE.json of the fingerprint rule; its hash is trusted while sizes and
            times of the files are those that it recorded.
        name: the source's name in the record, e.g. "model:demo".
    """
    record = read_json(record_path)
    recorded = (record or {}).get("fingerprints", {}).get(name)
    files = local_files(source)
    if not files:
        return recorded
    if recorded is not None and (record or {}).get("files") == file_stats(source):
        return recorded
    return local_fingerprint(source)
