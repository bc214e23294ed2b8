"""A method that computes each answer once per object."""

from collections.abc import Callable
from functools import wraps


def once(method: Callable) -> Callable:
    """Keep the method's answer for each tuple of (hashable) positional arguments.

    The answers live in the object, so they go with it.
    """

    @wraps(method)
    def answer(self, *arguments):
        known = self.__dict__.setdefault("_once", {})
        key = (method.__qualname__, *arguments)
        if key not in known:
            known[key] = method(self, *arguments)
        return known[key]

    return answer
