"""One meaning a word: unique class names and file names, and no phrase of the banned list.

docs/glossary.md has the words. The phrases are searched in docstrings, comments and other strings,
not in identifiers; a config key or a quote that needs one stands in ALLOWED with its reason.
"""

import ast
import io
import re
import tokenize
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("src", "workflow", "tests", "benchmarks")
# Roles of a file, which every question may have; measure_x and draw_x belong to question x.
ROLES = re.compile(r"(plan|keys|schema|__init__|draw\w*|render\w*|measure\w*)")

BANNED = {
    r"\b(is|are|was|were|be|been) asked\b": "requested; or name who requests it",
    r"\basked for\b": "requested",
    r"\b(is|are|was|were) told\b": "gets; or name who reports it",
    r"\btold apart\b": "distinguished",
    r"\bmend(s|ed|ing)?\b": "fix, repair, restore",
    r"\bbeside\b": "next to",
    r"\bis of no\b": "has no",
    r"\bare no (weak|such)\b": "say it without the turned negation",
    r"\bwhat (it|they) (is|are) made (from|of)\b": "its inputs",
    r"\bwhat is there\b": "the existing files",
    r"\bsays no more\b": "name the agent",
    r"\bwas begun with\b": "was started with",
}
QUESTION = re.compile(r"^(What|How|Which|Whether|Where|Who)\b")
ALLOWED: dict[tuple[str, str], str] = {
    ("tests/test_names.py", "*"): "the list itself",
    ("src/clip_sae/planning/steps.py", "beside"): "an attribute of Rule, in its documentation",
    ("src/clip_sae/analyses/suppression/plan.py", "beside"): "a key of the config",
    ("src/clip_sae/analyses/adaptation/render.py", "told apart"): "a printed caption",
}


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def code_files() -> list[Path]:
    rules = [*(ROOT / "workflow").rglob("*.smk"), ROOT / "workflow" / "Snakefile"]
    return python_files(*FOLDERS) + sorted(path for path in rules if path.is_file())


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def texts(source: str) -> list[tuple[int, str]]:
    """Return (line, text) of every comment and string; of f-strings without the expressions."""
    kinds = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", -1)}
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    found = [(t.start[0], " ".join(t.string.split())) for t in tokens if t.type in kinds]
    return [(n, re.sub(r"{[^{}]*}", "", s) if s[:1] in "fF" else s) for n, s in found]


def docstrings(source: str) -> list[tuple[int, str]]:
    """Return (line, docstring) of a module and of all its classes and functions."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]
    found = [(node.body[0].lineno, ast.get_docstring(node)) for node in nodes if node.body]
    return [(line, text) for line, text in found if text]


def banned_in(path: Path) -> list[str]:
    """Return a sentence for each banned phrase of a file."""
    if (name(path), "*") in ALLOWED:
        return []
    source = path.read_text(encoding="utf-8")
    found = [
        f"{name(path)}:{line}: {match.group()!r}; write: {better}"
        for line, text in texts(source)
        for pattern, better in BANNED.items()
        if (match := re.search(pattern, text)) and (name(path), match.group()) not in ALLOWED
    ]
    if path.suffix == ".py":
        found += [
            f"{name(path)}:{line}: a docstring says what it returns or does, not {match.group()!r}"
            for line, text in docstrings(source)
            if (match := QUESTION.match(text)) and (name(path), match.group()) not in ALLOWED
        ]
    return found


@pytest.mark.parametrize("path", code_files(), ids=name)
def test_no_banned_phrase(path):
    found = banned_in(path)
    assert not found, "\n".join(found)


def test_the_search_reads_strings_and_comments_alone():
    source = 'beside = 1  # it lies beside it\ntext = f"{beside} is told"\n'
    found = "".join(text for _, text in texts(source))
    assert found.count("beside") == 1 and "is told" in found


def test_public_class_names_are_unique():
    where = defaultdict(list)
    for path in python_files("src"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                where[node.name].append(name(path))
    assert not {cls: paths for cls, paths in where.items() if len(paths) > 1}


def test_file_names_are_unique_across_questions():
    where = defaultdict(list)
    for path in (ROOT / "src/clip_sae/analyses").rglob("*.py"):
        if not ROLES.fullmatch(path.stem):
            where[path.stem].append(name(path))
    assert not {stem: paths for stem, paths in where.items() if len(paths) > 1}
