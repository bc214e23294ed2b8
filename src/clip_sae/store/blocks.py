"""What a stream of tokens reads from: blocks of images, of a store or computed on the way.

Feeds the training of all SAEs (§3, Eq. 3); no equation of its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from .layout import StoreLayout


@dataclass(frozen=True)
class Block:
    """Images `start` to `stop` (one chunk), and the memory that their tokens are to fill.

    arrays: by name ("cls", "patch"), C-contiguous, in the dtype on disk, of as many elements as the
        block has; an array that is not named is not wanted.
    """

    start: int
    stop: int
    arrays: Mapping[str, np.ndarray]


class BlockSource(Protocol):
    """An `ActivationStore`, or what takes its place in a `TokenStream`.

    path: what messages name
    layout: cutting and dtype; the order of tokens depends on its blocks
    """

    @property
    def path(self) -> Path: ...
    @property
    def layout(self) -> StoreLayout: ...
    @property
    def n_images(self) -> int: ...
    @property
    def d_model(self) -> int: ...
    @property
    def disk_dtype(self) -> np.dtype: ...

    def token_shape(self, tokens: str) -> tuple[int, ...]:
        """Shape of one image for a choice of tokens: [token, d_model]."""
        ...

    def read_blocks(self, blocks: Sequence[Block]) -> Iterator[None]:
        """Fill the blocks in order, one per step. A generator: closing it ends what it started."""
        ...
