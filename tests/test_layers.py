"""Imports between modules point one way, by folder and file name."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[1] / "src" / "clip_sae"
DEMO = "clip_sae_demo"

# Floors of the house, lowest first: a module imports from its own floor and from those below.
FLOORS = [
    {"files", "metrics", "npz", "planning"},
    {"architectures", "clip", "datasets", "running", "sae", "store"},
    {"adaptation", "extraction", "training"},
    {"analyses"},
    {"scale"},
    {"cli", "__main__"},
]
FLOOR = {name: n for n, names in enumerate(FLOORS) for name in names}


def is_drawing(name: str) -> bool:
    """Return True if a module draws or renders, by its file name."""
    return name.rpartition(".")[2].partition("_")[0] in ("draw", "render")


def imports(path: Path) -> set[str]:
    """Return the dotted names that a module imports anywhere."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def modules() -> list[tuple[str, Path]]:
    """Return (dotted name below clip_sae, file) of every module."""
    files = (path for path in sorted(SRC.rglob("*.py")) if path.name != "__init__.py")
    return [(".".join(path.relative_to(SRC).with_suffix("").parts), path) for path in files]


def test_every_module_stands_on_a_floor():
    tops = {name.partition(".")[0] for name, _ in modules()} - {"plotting"}
    assert tops == set(FLOOR)
    loose = [path for path in SRC.glob("*.py")]
    assert len(loose) <= 8, f"loose modules at the top of the package: {sorted(loose)}"


@pytest.mark.parametrize("name,path", modules(), ids=lambda value: str(value))
def test_arrows_point_one_way(name, path):
    folder = name.partition(".")[0]
    found = {other.removeprefix("clip_sae.") for other in imports(path)}
    for other in found:
        top = other.partition(".")[0]
        assert top != DEMO, f"{name} imports {other}: the demo is a plug-in that nothing imports"
        if top == "plotting":
            drawn = folder == "analyses" and is_drawing(name) or name == "running.run"
            assert folder == "plotting" or drawn, f"{name} imports {other}: only draw.py draws"
        elif top not in FLOOR or f"clip_sae.{other}" not in imports(path):
            continue  # not ours
        elif folder == "plotting":
            raise AssertionError(f"{name} imports {other}: plotting sees tables only")
        else:
            mine, theirs = FLOOR[folder], FLOOR[top]
            if top == folder == "analyses":
                question, others = (dotted.split(".")[1] for dotted in (f"{name}.", f"{other}."))
                assert not others or others in (question, "shared") or question == "planned", (
                    f"{name} imports {other}: questions share code in analyses.shared alone"
                )
            assert theirs <= mine, f"{name} (floor {mine}) imports {other} (floor {theirs})"


def test_source_never_imports_snakemake():
    for _, path in modules():
        assert "import snakemake" not in path.read_text(), path


def without_torch() -> list[str]:
    """Return modules that the Snakefile reads, and those that draw."""
    named = ("planning.", "plotting.")
    roles = ("plan", "keys", "planned")
    return [n for n, p in modules() if n.startswith(named) or p.stem in roles or is_drawing(n)]


def test_no_torch_at_parse_time_or_in_drawing():
    """Run one process for all, since importing pandas and matplotlib takes longest."""
    names = ", ".join(f"clip_sae.{name}" for name in without_torch())
    code = f"import sys, {names}; assert not {{'torch', 'open_clip'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
