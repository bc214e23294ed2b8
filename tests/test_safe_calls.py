"""Calls that can run the content of a file are listed here, each with its file and reason.

Reading this list is the audit: YAML, pickles, arrays, archives, images, shells. A new such call
fails until it is made safe or is added with a reason.
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("src", "workflow", "tests", "benchmarks")
PYTHON = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
RULES = [ROOT / "Snakefile", *sorted((ROOT / "workflow").rglob("*.smk"))]

# The last two parts of a dotted call, or a bare name, that need a reason.
RISKY = {
    "yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load", "yaml.Loader",
    "pickle.load", "pickle.loads", "pickle.Unpickler", "pandas.read_pickle", "pd.read_pickle",
    "marshal.load", "marshal.loads", "shelve.open", "joblib.load", "dill.load", "dill.loads",
    "jit.load", "os.system", "os.popen", "eval", "exec", "__import__", "import_module",
    "shutil.unpack_archive", "Image.open",
}  # fmt: skip
ALLOWED = {
    ("src/clip_sae/training/launch.py", "pickle.loads"): (
        "a process of a training reads what its parent wrote into its pipe a moment before"
    ),
    ("src/clip_sae/datasets/images.py", "Image.open"): (
        "the one guarded place: closed list of formats, size checked before pixels"
    ),
    ("src/clip_sae_demo/card.py", "Image.open"): "images that the same command has just drawn",
    ("benchmarks/house_hashes.py", "Image.open"): "figures that the workflow has just drawn",
    ("src/clip_sae/running/job.py", "import_module"): "a name written there, of this package",
    (
        "src/clip_sae/running/run.py",
        "import_module",
    ): "the function of a step, named by its plan",
    ("src/clip_sae/planning/questions.py", "import_module"): "the package's own folders",
    ("src/clip_sae/planning/kinds.py", "import_module"): "the package's own files",
    ("src/clip_sae/planning/recipes.py", "import_module"): "a name written there, of this package",
    ("src/clip_sae/architectures/base.py", "import_module"): "the package's own files",
    ("src/clip_sae/planning/plugins.py", "import_module"): (
        "installed packages whose name is clip_sae_…, as the user wishes"
    ),
    ("src/clip_sae_demo/sets.py", "import_module"): "names written there, of this package",
}
# Tests open what they themselves have written, and import modules of this package.
ALLOWED_IN_TESTS = {"Image.open", "pickle.loads", "import_module"}


def dotted(node: ast.expr) -> str:
    """Return the last two parts of `a.b.c`, or the bare name; empty for other expressions."""
    if isinstance(node, ast.Name):
        return node.id
    if not isinstance(node, ast.Attribute):
        return ""
    return f"{dotted(node.value).rpartition('.')[2]}.{node.attr}".lstrip(".")


def keyword(call: ast.Call, name: str) -> object:
    """Return the constant that a call passes as a keyword, else None."""
    for given in call.keywords:
        if given.arg == name:
            return given.value.value if isinstance(given.value, ast.Constant) else ...
    return None


def risks_of(source: str) -> list[str]:
    """Return the calls of a Python source that need a reason."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = dotted(node.func)
        if name in RISKY:
            found.append(name)
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("extractall", "extract"):
            found.append("an archive unpacked")
        if name == "torch.load" and keyword(node, "weights_only") is not True:
            found.append("torch.load without weights_only=True")
        if name in ("np.load", "numpy.load") and keyword(node, "allow_pickle") not in (None, False):
            found.append("np.load with pickles")
        if keyword(node, "shell") not in (None, False):
            found.append("shell=True")
        if keyword(node, "trust_remote_code") not in (None, False):
            found.append("trust_remote_code")
    return found


def test_risky_calls_have_a_reason():
    without = []
    for path in PYTHON:
        place = path.relative_to(ROOT).as_posix()
        for risk in risks_of(path.read_text()):
            in_test = place.startswith("tests/") and risk in ALLOWED_IN_TESTS
            if not in_test and (place, risk) not in ALLOWED and risk not in PROOFS.get(place, ()):
                without.append(f"{place}: {risk}")
    assert len(PYTHON) > 300 and without == []


# Tests that open hostile files without a guard, to show that they are hostile.
PROOFS = {
    "tests/test_hostile_files.py": ["torch.load without weights_only=True", "np.load with pickles"],
    "tests/sae/exchange/test_exchange.py": ["torch.load without weights_only=True"],
}


@pytest.mark.parametrize("place", PROOFS)
def test_proofs_hold_what_they_are_listed_for(place):
    assert risks_of((ROOT / place).read_text()) == PROOFS[place]


def test_every_exception_is_still_needed():
    for place, risk in ALLOWED:
        assert risk in risks_of((ROOT / place).read_text()), f"{place} no longer has {risk}"


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.name)
def test_rules_run_scripts_and_no_shell(path):
    """Values of a config never reach a shell: rules have scripts, and no `shell:` or `run:`."""
    text = path.read_text()
    assert not re.search(r"^\s*(shell|run):", text, re.MULTILINE)
    assert not re.search(r"\b(eval|exec|os\.system|subprocess|pickle|yaml)\b\s*[.(]", text)


@pytest.mark.parametrize(
    "source",
    [
        "import yaml\nyaml.load(f, Loader=yaml.SafeLoader)",
        "x = pd.read_pickle(p)",
        "torch.load(p)",
        "torch.load(p, weights_only=False)",
        "torch.load(p, weights_only=flag)",
        "np.load(p, allow_pickle=True)",
        "np.load(p, allow_pickle=flag)",
        "subprocess.run('ls', shell=True)",
        "exec(text)",
        "with Image.open(p) as image: pass",
        "tarfile.open(p).extractall()",
        "torch.jit.load(p)",
        "AutoTokenizer.from_pretrained(n, trust_remote_code=True)",
    ],
)
def test_the_audit_sees_what_it_is_for(source):
    assert risks_of(source)


@pytest.mark.parametrize(
    "source",
    ["model.eval()", "np.load(p)", "yaml.safe_load(f)", "torch.load(p, weights_only=True)"],
)
def test_the_audit_lets_safe_calls_pass(source):
    assert not risks_of(source)
