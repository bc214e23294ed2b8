"""Canonical JSON, digests of code, and whole-or-nothing writing."""

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_sae.planning.specs import canonical_json, code_digest, digest, read_json, write_text

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(st.text(), JSON, min_size=2, max_size=4))
def test_order_of_keys_does_not_matter_and_nothing_is_lost(value):
    turned = dict(reversed(value.items()))
    assert canonical_json(turned) == canonical_json(value)
    assert json.loads(canonical_json(value)) == value


def test_swapped_values_differ():
    assert digest({"a": 1, "b": 2}) != digest({"a": 2, "b": 1})


def test_what_json_cannot_hold_is_refused():
    with pytest.raises(TypeError):
        canonical_json({"path": object()})
    with pytest.raises(ValueError):
        canonical_json({"x": float("nan")})


@pytest.fixture
def package(tmp_path):
    """Make a package: a imports b by name, b imports c relatively, nothing imports d."""
    folder = tmp_path / "src" / "p"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "a.py").write_text('"""A."""\nfrom p.b import two\n\nX = two()\n')
    (folder / "b.py").write_text(
        "import os\nfrom .c import ONE\n\n\ndef two():\n    return ONE + 1\n"
    )
    (folder / "c.py").write_text("ONE = 1\n")
    (folder / "d.py").write_text("UNUSED = 1\n")
    return tmp_path / "src"


def edited(package, name, text):
    path = package / "p" / name
    path.write_text(text)
    stat = path.stat()  # a new time, so that the parse cache sees the edit
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000))
    return code_digest(["p.a"], package)


def test_code_digest_follows_local_imports(package):
    before = code_digest(["p.a"], package)
    assert edited(package, "d.py", "UNUSED = 2\n") == before
    assert edited(package, "c.py", "ONE = 2\n") != before


@pytest.mark.parametrize(
    "same",
    ['"""Another docstring."""\nfrom p.b import two\n\nX = two()\n',
     '"""A."""\n# a remark\nfrom p.b import (\n    two,\n)\n\n\nX = two( )\n'],
)  # fmt: skip
def test_comments_layout_and_docstrings_do_not_count(package, same):
    before = code_digest(["p.a"], package)
    assert edited(package, "a.py", same) == before


def test_scripts_count_with_their_imports_and_neighbours(package, tmp_path):
    script = tmp_path / "scripts" / "run.py"
    script.parent.mkdir()
    (script.parent / "_helper.py").write_text("Y = 1\n")
    script.write_text("import _helper\nfrom p.c import ONE\n")
    before = code_digest((), package, [script])
    (script.parent / "_helper.py").write_text("Y = 22\n")
    assert code_digest((), package, [script]) != before
    before = code_digest((), package, [script])
    edited(package, "c.py", "ONE = 33\n")
    assert code_digest((), package, [script]) != before


def test_missing_module_is_named(package):
    with pytest.raises(FileNotFoundError, match=r"p\.nothing is not below"):
        code_digest(["p.nothing"], package)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    write_text(path, '{"a": 1}')
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "disk full")))
    with pytest.raises(OSError, match="disk full. Make room.*x.json"):
        write_text(path, '{"a": 2}')
    assert read_json(path) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [None, "", "[1]", '{"a": '])
def test_what_is_not_a_whole_object_reads_as_none(tmp_path, content):
    path = tmp_path / "x.json"
    if content is not None:
        path.write_text(content)
    assert read_json(path) is None


def test_parsed_code_is_kept_between_runs_and_never_outlives_an_edit(tmp_path):
    """Each reading is a separate process, as in the jobs of a cluster."""
    src, kept = tmp_path / "src", tmp_path / "kept.json"
    package = src / "p"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "a.py").write_text("from p import b\nx = 1\n")
    (package / "b.py").write_text("y = 1\n")
    read = (
        "import sys, json; from pathlib import Path; from clip_sae.planning import specs\n"
        f"kept = specs.ParsedCode(Path({str(kept)!r})); src = Path({str(src)!r})\n"
        "made = []; plain = specs.ast.parse\n"
        "specs.ast.parse = lambda *a, **k: (made.append(1), plain(*a, **k))[1]\n"
        "print(specs.code_digest(['p.a'], src), len(made)); kept.save()\n"
    )

    def digest():
        done = subprocess.run([sys.executable, "-c", read], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found, parsed = done.stdout.split()
        return found, int(parsed)

    first, parsed = digest()
    assert parsed == 3 and digest() == (first, 0)  # p, p.a and p.b
    (package / "b.py").write_text("y = 22\n")  # imported only
    second, parsed = digest()
    assert parsed == 1 and second != first
    (package / "b.py").unlink()  # a module becomes a package
    (package / "b").mkdir()
    (package / "b/__init__.py").write_text("y = 22\n")
    third, parsed = digest()
    assert parsed == 1 and third not in (first, second)
    kept.write_text("{not whole")
    assert digest() == (third, 3)
