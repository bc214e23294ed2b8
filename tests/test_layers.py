"""The arrows between modules point one way (design: the house)."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[1] / "src" / "clip_sae"

# Level of each module or package: it may import from its own level's sisters named in MAY, and from
# all lower levels.
LEVELS = {
    "versions": 0, "specs": 0, "recipe_values": 0, "recipes": 0, "metrics": 0, "architecture": 0,
    "artefacts": 0, "fingerprints": 0, "config": 0, "plan": 0, "steering_config": 0,
    "config_mistakes": 0, "npz": 0, "locks": 0, "run_lock": 0, "dropping": 0, "store_turns": 0,
    "steering_plan": 0, "suppression_config": 0, "suppression_plan": 0,
    "suppression_tables_plan": 0, "garbage": 0, "hardware": 0, "scatter": 0,
    "datasets": 1, "store": 1, "sae": 1, "demo": 1, "batching": 1, "clip_weights": 1, "clip": 1,
    "clip_head": 1, "zeroshot": 1, "vocabulary": 1,
    "extraction_stages": 2, "extraction_job": 2, "extraction": 2, "intervention": 2, "training": 2,
    "live_source": 2, "live_tokens": 2,
    "attack": 2, "attacked_pairs": 2, "cls_attention": 2, "defence_prefix": 2,
    "typographic_config": 0, "typographic_plan": 0, "augment_config": 0, "pictures_config": 0,
    "pictures_plan": 0, "class_concepts_config": 0, "class_concepts_plan": 0,
    "concepts_config": 0, "concepts_plan": 0, "quality_plan": 0,
    "adaptation": 2, "adaptation_config": 0, "adaptation_plan": 0, "adaptation_changes_config": 0,
    "adaptation_changes_plan": 0,
    "analyses": 3,
    "scale": 3, "commands": 4, "cli": 4, "__main__": 5,
}  # fmt: skip
# Within level 1 only these arrows exist.
MAY = {
    ("clip", "clip_weights"), ("clip", "batching"), ("clip", "demo"), ("zeroshot", "clip"),
    ("clip", "zeroshot"), ("clip", "clip_head"), ("vocabulary", "demo"),
}  # fmt: skip
STEERING = sorted(path.stem for path in (SRC / "plotting").glob("steering_*.py"))
PARSE_TIME = ("specs", "recipes", "artefacts", "fingerprints", "config", "plan", "architecture")


def local_imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module] if node.module != "clip_sae" else [
                f"clip_sae.{alias.name}" for alias in node.names
            ]  # fmt: skip
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("clip_sae.")}
    return found


def modules():
    for path in sorted(SRC.rglob("*.py")):
        name = path.relative_to(SRC).parts[0].removesuffix(".py")
        if name != "__init__":
            yield name, path


@pytest.mark.parametrize("name,path", modules(), ids=lambda value: str(value))
def test_arrows_point_one_way(name, path):
    for other in local_imports(path) - {name}:
        if name == "plotting":
            pytest.fail(f"{path.name} imports {other}: plotting sees tables only")
        assert other != "plotting", f"{path.name} imports plotting"
        assert name in LEVELS, f"{name} has no level; give it one in LEVELS"
        lower = LEVELS[other] < LEVELS[name]
        same = LEVELS[other] == LEVELS[name] and (LEVELS[name] != 1 or (name, other) in MAY)
        assert lower or same, f"{path.name} (level {LEVELS[name]}) imports {other}"


def test_source_never_imports_snakemake():
    for _, path in modules():
        assert "import snakemake" not in path.read_text(), path


@pytest.mark.parametrize(
    "package",
    [
        *(f"clip_sae.{m}" for m in PARSE_TIME),
        *("clip_sae.plotting", "clip_sae.analyses.frontier"),
        *("clip_sae.suppression_tables_plan", "clip_sae.analyses.suppression.tables"),
        *("clip_sae.adaptation_plan", "clip_sae.analyses.adaptation.base_to_novel"),
    ],
)
def test_no_torch_at_parse_time_or_in_plotting(package):
    code = f"import sys, {package}; assert not {{'torch', 'open_clip'}} & set(sys.modules)"
    if package == "clip_sae.plotting":
        modules = ("l0", "tables", "frontier", "suppression_tables", "adaptation", *STEERING)
        names = ", ".join(f"clip_sae.plotting.{module}" for module in modules)
        code = code.replace("import sys", f"import sys, {names}")
    subprocess.run([sys.executable, "-c", code], check=True)
