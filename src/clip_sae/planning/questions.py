"""The questions that the workflow answers: one folder of `clip_sae.analyses` each.

    plan.py      `steps(plan)` declares the jobs; needed
    schema.yaml  the keys of the config's section `analyses.<folder>`
    keys.py      `mistakes(checked)` yields the mistakes that the schema cannot find

Nothing lists the folders. They are imported by name, because they are above this package.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

import yaml

from clip_sae.planning.mistakes import Checked

PACKAGE = "clip_sae.analyses"
FOLDER = Path(__file__).parents[1] / "analyses"


@dataclass(frozen=True)
class Question:
    """One folder of analyses: its name, the function that declares its jobs, and its schema."""

    name: str
    steps: Callable
    schema: Mapping | None

    def mistakes(self, checked: Checked) -> Iterator[str]:
        """Yield a sentence for each mistake in the question's own keys."""
        if (FOLDER / self.name / "keys.py").is_file():
            yield from import_module(f"{PACKAGE}.{self.name}.keys").mistakes(checked)


@cache
def questions() -> tuple[Question, ...]:
    """Return every question, sorted by the name of its folder."""
    found = []
    for path in sorted(FOLDER.glob("*/plan.py")):
        name, keys = path.parent.name, path.with_name("schema.yaml")
        schema = yaml.safe_load(keys.read_text(encoding="utf-8")) if keys.is_file() else None
        found.append(Question(name, import_module(f"{PACKAGE}.{name}.plan").steps, schema))
    return tuple(found)


def with_questions(schema: dict) -> dict:
    """Add the keys of every question to the schema of the config, in place; return it."""
    for question in questions():
        if question.schema is not None:
            keys = dict(question.schema)
            schema["$defs"] |= keys.pop("$defs", {})
            schema["properties"]["analyses"]["properties"][question.name] = keys
    return schema
