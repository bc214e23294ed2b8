"""The rules of a tree's workflow, read by Snakemake itself.

Snakemake executes the rule files in a process of its own, because they change `sys.path` and import
the tree's package. The folder of that process links to the tree and holds no results, so neither
earlier runs nor their records decide anything, and the tree gets no file.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LINKED = ("Snakefile", "workflow", "src", "profiles", "envs", "config.yaml")
TARGET = "all"


@contextmanager
def linked(tree: Path) -> Iterator[Path]:
    """Yield a temporary folder in which Snakemake finds the workflow of `tree` and no results."""
    with tempfile.TemporaryDirectory() as name:
        for part in LINKED:
            if (tree / part).exists():
                Path(name, part).symlink_to(tree.resolve() / part)
        yield Path(name)


def python(tree: Path, folder: Path, *arguments: str) -> str:
    """Run this interpreter on `arguments` in `folder` with the package of `tree`; return stdout."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(tree.resolve() / "src"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def rules_of(tree: Path) -> list[dict]:
    """Return every rule of the demo: name, input, output, wildcards, `params.spec` or None."""
    with linked(tree) as folder:
        written = folder / "rules.json"
        python(tree, folder, str(Path(__file__).resolve()), str(written))
        return json.loads(written.read_text())


def graph_nodes(tree: Path, target: str = TARGET) -> int:
    """Count the nodes of the rule graph that Snakemake draws for `target`."""
    with linked(tree) as folder:
        graph = python(tree, folder, "-m", "snakemake", target, "--rulegraph")
    return len(re.findall(r"^\s*\d+\[label", graph, flags=re.MULTILINE))


def write_rules(written: Path) -> None:
    """Read the workflow in the working directory and write its rules as JSON."""
    from snakemake.api import SnakemakeApi
    from snakemake.settings.types import OutputSettings, ResourceSettings

    with SnakemakeApi(OutputSettings()) as api:
        read = api.workflow(resource_settings=ResourceSettings(cores=1))
        # The API prints rules and has no list of them, hence the private name.
        rules = [
            {
                "name": rule.name,
                "input": [str(path) for path in rule.input if not callable(path)],
                "output": [str(path) for path in rule.output],
                "wildcards": sorted(rule.wildcard_names),
                "spec": _text_or_none(getattr(rule.params, "spec", None)),
            }
            for rule in read._workflow.rules
        ]
    written.write_text(json.dumps(rules))


def _text_or_none(spec: object) -> str | None:
    """Return the spec where it is known without a job; some rules make it by a function."""
    return str(spec) if isinstance(spec, str) else None


if __name__ == "__main__":
    write_rules(Path(sys.argv[1]))
