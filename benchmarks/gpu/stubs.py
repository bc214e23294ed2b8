"""Stand-ins for packages that the peers import and that a training step never calls.

A stand-in is an empty module whose every attribute is a class that accepts anything. Only packages
that are not installed get one, and only inside `stand_ins`.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch

OF_PEERS = (
    *("transformer_lens", "transformers", "datasets", "plotly", "plotly_express", "babe", "nltk"),
    *("dotenv", "simple_parsing", "wandb", "nnsight", "circuitsvis", "umap", "zstandard"),
    *("accelerate", "natsort", "schedulefree", "jaxtyping", "beartype", "fancy_einsum"),
    *("docstring_parser",),
)


class _AnyClass(type):
    """Class of the stand-ins: its attributes are stand-ins too, and `X | Y` is X."""

    def __getattr__(cls, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return _any_class(name)

    def __or__(cls, other: object) -> type:
        return cls

    def __ror__(cls, other: object) -> type:
        return cls


def _any_class(name: str) -> type:
    """Return a class that takes any arguments; called as a decorator, it returns the function."""
    body = {
        "__class_getitem__": classmethod(lambda cls, item: cls),
        "__init__": lambda self, *args, **kwargs: None,
        "__call__": lambda self, *args, **kwargs: args[0] if args else None,
    }
    return _AnyClass(name, (), body)


class _Module(types.ModuleType):
    """An empty package."""

    __path__: list = []

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        value = _any_class(name)
        setattr(self, name, value)
        return value


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the given packages, and everything below them, as stand-ins."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = frozenset(names)

    def find_spec(self, name: str, path: object = None, target: object = None):
        if name.partition(".")[0] not in self.names:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Do nothing: there is no code."""


@contextmanager
def stand_ins(names: Iterable[str]) -> Iterator[list[str]]:
    """Let the packages among `names` that are not installed be imported; yield which these are.

    On leaving, they are removed from sys.modules, so that no other import finds them.
    """
    lacking = [name for name in names if not _is_installed(name)]
    finder = _Finder(lacking)
    sys.meta_path.append(finder)
    if "transformer_lens" in lacking:
        _put_hook_points()
    try:
        yield lacking
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if name.partition(".")[0] in finder.names]:
            del sys.modules[name]


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


class HookPoint(torch.nn.Module):
    """transformer_lens' place for a hook, without one."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


class HookedRootModule(torch.nn.Module):
    """transformer_lens' base of models with hooks, from which SAELens derives its SAEs."""

    def setup(self) -> None:
        """Do nothing: there are no hooks to find."""


def _put_hook_points() -> None:
    """Make the stand-in of transformer_lens hold the two classes, wherever they are imported from.

    SAELens calls their methods, so that classes which accept anything would not do.
    """
    import transformer_lens
    import transformer_lens.hook_points
    import transformer_lens.HookedTransformer

    root = transformer_lens
    for module in (root, root.hook_points, root.HookedTransformer):
        module.HookPoint, module.HookedRootModule = HookPoint, HookedRootModule
