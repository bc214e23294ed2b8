"""Plug-ins: packages next to `clip_sae` that bring a data set, a word list or a rule of their own.

A plug-in is any importable top-level package whose name begins with `clip_sae_` and that has a
module `plugin`. Importing that module registers what the plug-in brings: makers of data sets
(`planning.kinds.register`), word lists (`WORDS`) and jobs (`STEPS`). Nothing in clip_sae imports a
plug-in by its name. The Snakefile imports every `plugin`, so it must not import torch.
"""

import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from clip_sae.planning.specs import code_digest

PREFIX = "clip_sae_"

WORDS: dict[str, str] = {}  # {name of a word list: "module:constant"}
STEPS: list[Callable] = []  # functions of the plan that declare further jobs


@cache
def load_plugins() -> tuple[str, ...]:
    """Import the module `plugin` of every plug-in; return the names of their packages."""
    # a glob, because pkgutil.iter_modules looks into every installed package: 90 ms
    files = (file for folder in sys.path for file in Path(folder).glob(f"{PREFIX}*/plugin.py"))
    names = sorted({file.parent.name for file in files})
    for name in names:
        import_module(f"{name}.plugin")
    return tuple(names)


def word_lists() -> dict[str, str]:
    """Return {name: "module:constant"} of the word lists that plug-ins bring."""
    load_plugins()
    return WORDS


def words_of(name: str) -> list[str]:
    """Return the words of a plug-in's list."""
    module, _, constant = word_lists()[name].partition(":")
    return list(getattr(import_module(module), constant))


def words_code(name: str) -> str:
    """Return the digest of the code that holds a plug-in's word list."""
    module = word_lists()[name].partition(":")[0]
    package = find_spec(module.partition(".")[0])
    return code_digest([module], Path(package.origin).parents[1])
