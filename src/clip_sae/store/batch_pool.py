"""Memory for batches, used again once nobody refers to it: new pages cost as much as a gather.

Feeds the training of all SAEs (§3, Eq. 3); no equation of its own.
"""

import sys
from collections.abc import Callable

import numpy as np

from .errors import StoreError

Allocate = Callable[[tuple[int, ...], np.dtype], np.ndarray]


class BatchPool:
    """A few buffers of one shape and dtype, made by `allocate`.

    CPython's reference count tells whether one is free, since every view of an array (and a tensor
    made from it) refers to the array that owns the memory.
    """

    def __init__(
        self, shape: tuple[int, int], dtype: np.dtype, size: int, allocate: Allocate = np.empty
    ) -> None:
        self._shape, self._dtype, self._size, self._allocate = shape, dtype, size, allocate
        self._buffers: list[np.ndarray] = []

    def take(self, n: int) -> np.ndarray:
        """[n, d_model] with arbitrary values; n is at most the rows of the pool's shape."""
        for i in range(len(self._buffers)):
            if sys.getrefcount(self._buffers[i]) == 2:  # the list's and this call's
                return self._buffers[i][:n]
        # A view of a view refers to the array at the root. Behind a memoryview this is the root,
        # whatever the caller's array is a view of.
        buffer = np.asarray(memoryview(self._allocate(self._shape, self._dtype)))
        if (buffer.shape, buffer.dtype) != (self._shape, self._dtype) or not buffer.flags.writeable:
            raise StoreError(
                f"`allocate` gave {buffer.dtype} {list(buffer.shape)}; a batch needs writable "
                f"{self._dtype} {list(self._shape)}."
            )
        if len(self._buffers) < self._size:
            self._buffers.append(buffer)
        return buffer[:n]
