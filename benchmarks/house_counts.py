"""Counts over a tree's files: wiring, science, adapters, loose modules.

File names alone decide what counts as wiring, so that the count means the same before and after
files move.
"""

from collections.abc import Iterable
from pathlib import Path

PACKAGE = Path("src/clip_sae")
SCRIPTS = Path("workflow/scripts")
SCIENCE = ("analyses", "plotting")
WIRING_STEMS = ("plan", "steps", "keys", "config")
WIRING_ENDINGS = ("_plan", "_config")
LIMIT = 40  # lines of an adapter, by the project's own rule


def lines_of(files: Iterable[Path]) -> int:
    """Count the lines of `files`."""
    return sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)


def is_wiring(file: Path) -> bool:
    """Check whether the name of a module in `src` says that it plans or checks configs."""
    return file.stem in WIRING_STEMS or file.stem.endswith(WIRING_ENDINGS)


def wiring(tree: Path) -> list[Path]:
    """Return the files that say which step runs, on what, and with which values."""
    snakefiles = [tree / "Snakefile", tree / "workflow/Snakefile"]
    return [
        *(file for file in snakefiles if file.is_file()),
        *sorted((tree / "workflow").rglob("*.smk")),
        *scripts(tree),
        *(file for file in modules(tree / "src") if is_wiring(file)),
    ]


def science(tree: Path) -> list[Path]:
    """Return the modules that measure and draw."""
    folders = [tree / PACKAGE / name for name in SCIENCE]
    return [file for folder in folders for file in modules(folder) if not is_wiring(file)]


def scripts(tree: Path) -> list[Path]:
    """Return the Python files in the folder of scripts: adapters and their helpers."""
    return sorted((tree / SCRIPTS).glob("*.py"))


def modules(folder: Path) -> list[Path]:
    """Return all Python files below `folder`."""
    return sorted(folder.rglob("*.py"))


def code(tree: Path) -> list[Path]:
    """Return all code of package and workflow: Python, rule files, Snakefiles."""
    snakefiles = [tree / "Snakefile", tree / "workflow/Snakefile"]
    rule_files = sorted((tree / "workflow").rglob("*.smk"))
    found = [file for file in snakefiles if file.is_file()]
    return [*found, *rule_files, *modules(tree / "workflow"), *modules(tree / "src")]


def file_counts(tree: Path) -> dict[str, str]:
    """Return a row of text for every figure that needs no workflow, by its name."""
    wired, measured = lines_of(wiring(tree)), lines_of(science(tree))
    helpers = [file for file in scripts(tree) if file.name.startswith("_")]
    adapters = [file for file in scripts(tree) if file not in helpers]
    above = [file for file in adapters if lines_of([file]) > LIMIT]
    long_helpers = [file for file in helpers if lines_of([file]) > LIMIT]
    top = list((tree / PACKAGE).glob("*.py"))
    packages = {file.parent for file in (tree / PACKAGE).glob("*/*.py")}
    return {
        "wiring, lines": f"{wired:,}",
        "science, lines": f"{measured:,}",
        "wiring per 100 lines of science": f"{100 * wired / measured:.1f}",
        "adapters": f"{len(adapters)}",
        f"adapters over {LIMIT} lines": f"{len(above)}",
        "helpers of adapters (`_*.py`)": f"{len(helpers)}",
        f"helpers over {LIMIT} lines": f"{len(long_helpers)}",
        "loose modules at the top of the package": f"{len(top)}",
        "packages": f"{len(packages)}",
        "code files of src and workflow": f"{len(code(tree))}",
        "lines of src and workflow": f"{lines_of(code(tree)):,}",
    }
