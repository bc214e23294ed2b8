"""The order of tokens in an epoch, each exactly once: a pure function of (seed, epoch).

The paper does not say how activations are shuffled.  # ASSUME: chunks of images are permuted, and
all tokens of a window of chunks are permuted together. With images permuted when they are stored,
the variance of a batch mean then exceeds that of independent draws by about
0.5 x batch_tokens / images in the window: 12 % at the default of 4 images per token of a batch.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .layout import StoreLayout

_CHUNKS = 0  # random streams of an epoch: the order of chunks, then one per window


@dataclass(frozen=True)
class Window:
    """Tokens that are in memory at the same time.

    number: 0 ... in the order of the epoch
    chunks: image bounds [chunk, 2], in the order in which they lie in memory
    first, stop: position of its tokens within the epoch
    """

    number: int
    chunks: np.ndarray
    first: int
    stop: int

    @property
    def n_images(self) -> int:
        return int(np.diff(self.chunks, axis=1).sum())


@dataclass(frozen=True)
class ShufflePlan:
    """The order of tokens. In memory a chunk is its CLS rows, then its patch rows.

    n_cls, n_patches: tokens per image of either kind that take part
    buffer_images: images per window, rounded to whole chunks and to windows of equal size
    """

    layout: StoreLayout
    n_cls: int
    n_patches: int
    buffer_images: int
    seed: int

    @property
    def tokens_per_image(self) -> int:
        return self.n_cls + self.n_patches

    @property
    def n_tokens(self) -> int:
        return self.layout.n_images * self.tokens_per_image

    @property
    def n_windows(self) -> int:
        n_chunks = -(-self.layout.n_images // self.layout.chunk_images)
        chunks_per_window = max(1, self.buffer_images // self.layout.chunk_images)
        return -(-n_chunks // chunks_per_window)

    def windows(self, epoch: int) -> list[Window]:
        """Return the windows of an epoch.

        A single window keeps its chunks in disk order: it is permuted as a whole anyway, and can
        stay in memory from epoch to epoch.
        """
        chunks = np.array([*self.layout.chunks()])
        if self.n_windows > 1:
            chunks = self._random(epoch, _CHUNKS).permutation(chunks)
        windows, first = [], 0
        for number, group in enumerate(np.array_split(chunks, self.n_windows)):
            stop = first + int(np.diff(group, axis=1).sum()) * self.tokens_per_image
            windows.append(Window(number, group, first, stop))
            first = stop
        return windows

    def order(self, epoch: int, window: Window) -> np.ndarray:
        """Return rows of the window's memory in the order of training, int64 [token]."""
        random = self._random(epoch, _CHUNKS + 1 + window.number)
        return random.permutation(window.stop - window.first)

    def chunk_rows(self, window: Window) -> Iterator[tuple[int, int, int]]:
        """Yield (first image, image behind the last, first memory row) of each chunk."""
        row = 0
        for start, stop in window.chunks.tolist():
            yield start, stop, row
            row += (stop - start) * self.tokens_per_image

    def locate(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Return image row and token (CLS = 0) of each memory row of a window."""
        images, tokens = [], []
        for start, stop, _ in self.chunk_rows(window):
            rows = np.arange(start, stop)
            images += [np.repeat(rows, self.n_cls), np.repeat(rows, self.n_patches)]
            patches = np.tile(np.arange(1, 1 + self.n_patches), len(rows))
            tokens += [np.zeros(len(rows) * self.n_cls, np.int64), patches]
        return np.concatenate(images), np.concatenate(tokens)

    def _random(self, epoch: int, stream: int) -> np.random.Generator:
        seeds = np.random.SeedSequence([self.seed, epoch, stream])
        return np.random.Generator(np.random.Philox(seeds))
