"""The arrows between modules point one way (design: the house), by folder and file name."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[1] / "src" / "clip_sae"

# Floors of the house, lowest first. A module may import from its own floor and from those below.
# Modules that lie loose at the top of the package stand on the floor of the folder that they serve.
FLOORS = {
    "planning": 0,
    "datasets": 1, "store": 1, "sae": 1, "demo": 1, "clip": 1, "zeroshot": 1, "vocabulary": 1,
    "clip_head": 1, "clip_weights": 1, "batching": 1,
    "running": 1,
    "training": 2, "adaptation": 2, "extraction": 2, "extraction_job": 2, "extraction_stages": 2,
    "intervention": 2, "live_source": 2, "live_tokens": 2, "attack": 2, "attacked_pairs": 2,
    "cls_attention": 2, "defence_prefix": 2,
    "stages": 3, "analyses": 3,
    "scale": 4, "commands": 4, "cli": 5, "__main__": 5,
}  # fmt: skip


def local_imports(path: Path) -> set[str]:
    """Dotted names below clip_sae that a module imports anywhere."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found |= {n.removeprefix("clip_sae.") for n in names if n.startswith("clip_sae.")}
    return found


def modules() -> list[tuple[str, Path]]:
    """(dotted name below clip_sae, file) of every module."""
    files = (path for path in sorted(SRC.rglob("*.py")) if path.name != "__init__.py")
    return [(".".join(path.relative_to(SRC).with_suffix("").parts), path) for path in files]


@pytest.mark.parametrize("name,path", modules(), ids=lambda value: str(value))
def test_arrows_point_one_way(name, path):
    folder, _, rest = name.partition(".")
    role = path.stem  # plan, draw and render are roles of an analysis
    for other in local_imports(path):
        top = other.partition(".")[0]
        if folder == "plotting":
            assert top == "plotting", f"{name} imports {other}: plotting sees tables only"
        elif top == "plotting":
            drawn = folder == "analyses" and role in ("draw", "render") or name == "running.run"
            assert drawn, f"{name} imports {other}: only draw.py and render.py draw"
        else:
            # a loose module without a floor serves planning: it knows no other floor
            mine, theirs = FLOORS.get(folder, 0), FLOORS.get(top, 0)
            assert theirs <= mine, f"{name} (floor {mine}) imports {other} (floor {theirs})"
        if folder == "analyses" and role == "plan":
            assert FLOORS.get(top, 0) == 0 or top == "analyses", f"{name} imports {other}"


def test_source_never_imports_snakemake():
    for _, path in modules():
        assert "import snakemake" not in path.read_text(), path


def without_torch() -> list[str]:
    """Modules that the Snakefile reads, and those that draw."""
    names = ["planning.plan", "planning.staleness", "planning.jobs", "analyses.planned"]
    names += [n for n, path in modules() if path.stem in ("plan", "draw", "render")]
    return names + [n for n, _ in modules() if n.startswith("plotting.")]


def test_no_torch_at_parse_time_or_in_drawing():
    """One process for all: importing pandas and matplotlib takes longer than what it tests."""
    names = ", ".join(f"clip_sae.{name}" for name in without_torch())
    code = f"import sys, {names}; assert not {{'torch', 'open_clip'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
