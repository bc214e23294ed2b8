"""Specs of artefacts as canonical JSON, and the digests that name them.

Standard library only, since the Snakefile imports this. A spec holds the config values that an
artefact uses, the digests of the specs upstream, and either a stage version (raised by hand:
extraction, training) or a digest of the stage's code (analyses, drawing).
"""

import ast
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

DIGEST_LENGTH = 10  # hex digits: 40 bits, no collision among the thousands of artefacts of a study


def canonical_json(value: object) -> str:
    """Return `value` as JSON in which equal values give equal text (sorted keys, no spaces).

    Raises TypeError for values outside JSON (paths, numpy scalars), and ValueError for NaN and
    infinity, so that no value silently drops out of a digest.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: object) -> str:
    """Return the first `DIGEST_LENGTH` hex digits of the sha256 of `canonical_json(value)`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:DIGEST_LENGTH]


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes, in hex, read in pieces of 1 MiB."""
    sha = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            sha.update(piece)
    return sha.hexdigest()


def code_digest(modules: Iterable[str], src: Path, files: Iterable[Path] = ()) -> str:
    """Digest the code of `modules` and of all local modules that they import, transitively.

    The syntax tree is hashed with docstrings stripped, so comments, layout and documentation do not
    matter. Imports that resolve below `src` are followed; others (torch, numpy) are not: versions
    of libraries are recorded, not hashed.

    Args:
        modules: dotted names below `src`, e.g. `clip_sae.analyses.l0.measure`.
        src: the folder that holds the top-level packages.
        files: further files of the stage. Python files (the workflow's scripts) count by their
            syntax tree and their local imports; others, such as a style sheet, by their bytes.

    Raises:
        FileNotFoundError: a module or a file does not exist.
    """
    pending = [_module_path(module, src) for module in modules]
    for module, path in zip(modules, pending, strict=True):
        if path is None:
            raise FileNotFoundError(f"code digest: module {module} is not below {src}")
    hashes: dict[str, str] = {}
    seen: set[Path] = set()
    pending.extend(Path(file) for file in files)
    while pending:
        path = pending.pop()
        if path in seen:
            continue
        seen.add(path)
        name = path.relative_to(src).as_posix() if path.is_relative_to(src) else path.name
        if path.suffix != ".py":
            hashes[name] = file_sha256(path)
            continue
        tree_hash, imports = _parse(path, src, path.stat().st_mtime_ns)
        hashes[name] = tree_hash
        pending.extend(imports)
    return digest(hashes)


class ParsedCode:
    """A cache of `code_digest` on disk: the hash and imports of each file of code.

    A file is parsed again when its time or size has changed. Every job on a cluster reads the
    workflow, and parsing the package takes most of that time. A cache that cannot be read, or of
    another Python, counts as empty.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        found = read_json(self.path) or {}
        same = found.get("python") == sys.version
        _KNOWN.update(found["files"] if same else {})
        self._before = len(_KNOWN), same

    def save(self) -> None:
        """Write the cache if files were parsed since it was read."""
        if (len(_KNOWN), True) != self._before or _PARSED:
            write_json(self.path, {"python": sys.version, "files": dict(sorted(_KNOWN.items()))})
            _PARSED.clear()


_KNOWN: dict[str, list] = {}  # path → [mtime_ns, size, src, hash, imported names]
_PARSED: set[str] = set()


@cache
def _parse(path: Path, src: Path, mtime_ns: int) -> tuple[str, list[Path]]:
    """Return (hash of the docstring-free syntax tree, paths of local imports) of one file."""
    key = [mtime_ns, path.stat().st_size, str(src)]
    known = _KNOWN.get(str(path))
    if known is None or known[:3] != key:
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
        names = sorted(set(_imported_names(tree, path, src)))
        known = _KNOWN[str(path)] = [*key, _tree_hash(tree), names]
        _PARSED.add(str(path))
    return known[3], sorted(set(_local_files(known[4], path, src)))


def _tree_hash(tree: ast.AST) -> str:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_docstring(body[0]):
            node.body = body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _is_docstring(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _imported_names(tree: ast.AST, path: Path, src: Path) -> Iterable[str]:
    """Yield the dotted names that may be local modules."""
    package = path.relative_to(src).parent.parts if path.is_relative_to(src) else ()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            # `from a.b import c`: c may be a module of its own or a name inside a.b
            yield from (module, *(f"{module}.{alias.name}" for alias in node.names))


def _local_files(names: Iterable[str], path: Path, src: Path) -> Iterable[Path]:
    """Yield the files of the names that are local modules."""
    inside = path.is_relative_to(src)
    for name in names:
        if found := _module_path(name, src):
            yield found
        # scripts import helpers next to them
        if not inside and (sibling := path.parent / f"{name}.py").is_file():
            yield sibling


def _module_path(module: str, src: Path) -> Path | None:
    stem = src.joinpath(*module.split("."))
    for candidate in (stem.with_name(stem.name + ".py"), stem / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def json_text(value: Mapping) -> str:
    """Return `value` as JSON for readers: indented, keys sorted."""
    return json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n"


def write_json(path: Path, value: Mapping) -> None:
    """Write `value` to `path` whole or not at all (temporary file, fsync, rename)."""
    write_text(path, json_text(value))


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, whole or not at all."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` whole or not at all (temporary file, fsync, rename)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        # Python's own error names no file where the disk is full.
        advice = "Make room or fix the disk and run snakemake again"
        raise OSError(error.errno, f"{error.strerror or error}. {advice}", str(path)) from error
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_json(path: Path) -> dict | None:
    """Return the JSON object in `path`, or None if the file is missing or incomplete."""
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
