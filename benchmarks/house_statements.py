"""Values that a rule states twice, and paths that it reads without declaring them.

In this tree a rule has one parameter, a JSON text: `arguments` reach the script, and the record of
each output holds the `spec` that decides whether the output is out of date. A value that does both
stands in both, so that the two can part. A path that stands in the arguments alone is read without
Snakemake knowing of it: a deleted file does not come back.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from house_workflow import rules_of

RESULTS = "results/"
RESOURCES = "workflow/resources/"
COMPLETE = "COMPLETE.json"  # the record that stands for a whole folder


def statements(tree: Path) -> dict[str, int]:
    """Count the arguments of the demo's rules.

    Returns:
        values: arguments that hold no path.
        twice: those of them that also stand, under the same name, in the spec of an output.
        undeclared: paths in arguments that the rule neither reads nor makes by declaration.
    """
    counts = {"values": 0, "twice": 0, "undeclared": 0}
    for rule in rules_of(tree):
        # The rules that list things take the whole plan as their argument and make no artefact.
        if rule["spec"] is None or rule["name"].startswith("list_"):
            continue
        spec = json.loads(rule["spec"])
        specs = [made["record"]["spec"] for made in spec["makes"].values()]
        declared = {*rule["input"], *rule["output"]}
        declared |= {RESOURCES + name for name in spec["code"]["resources"]}
        for name, value in spec["arguments"].items():
            paths = [text for text in leaves(value) if is_path(text)]
            counts["undeclared"] += sum(not is_declared(path, declared) for path in paths)
            if not paths:
                counts["values"] += 1
                counts["twice"] += any(name in of and of[name] == value for of in specs)
    return counts


def leaves(value: object) -> Iterator[object]:
    """Yield the plain values in a nest of mappings and lists."""
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from leaves(inner)
    else:
        yield value


def is_path(value: object) -> bool:
    """Tell a path from other text.

    The demo draws its images, so they lie below the results like all else. The name of a model that
    holds a folder (`local-dir:`) is a value: its content is tracked by fingerprint.
    """
    if not isinstance(value, str):
        return False
    return value.startswith((RESULTS, RESOURCES)) or f"/{RESOURCES}" in value


def is_declared(path: str, declared: set[str]) -> bool:
    """Check whether a rule's `declared` files include `path` or the folder that it lies in."""
    if RESOURCES in path:
        path = RESOURCES + path.partition(RESOURCES)[2]
    folders = [file.removesuffix(COMPLETE) for file in declared if file.endswith("/" + COMPLETE)]
    return path in declared or any(f"{path}/".startswith(folder) for folder in folders)
