"""Training straight from images: a shuffled stream of tokens without a store.

§3, Eq. 3. Order and rounding of tokens equal those of the store that extraction would write, so the
trained SAE is the same. This saves the disk and costs a forward pass per image, layer and epoch
(docs/streaming.md).
"""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch

from clip_sae.clip.model import Key, load_clip
from clip_sae.extraction.job import ExtractJob
from clip_sae.extraction.live_source import LiveSource
from clip_sae.planning.architecture import ModelSource
from clip_sae.store import TokenStream
from clip_sae.training.source import pinned


class LiveStream(TokenStream):
    """A `TokenStream` of a `LiveSource` that times its consumer's waiting; options as there."""

    def __init__(self, source: LiveSource, **options: object) -> None:
        super().__init__(source, **options)
        self._clock, self._source = source.clock, source
        self._started: float | None = None
        # Tokens that fit stay in memory: the stream keeps one window, the source keeps several.
        source.keeps = self.fits and self._plan.n_windows > 1

    def epoch(self, epoch: int, start_batch: int = 0) -> Iterator[np.ndarray]:
        """Return `TokenStream.epoch`, with the caller's waiting timed."""
        self._started = time.perf_counter() if self._started is None else self._started
        return self._timed(super().epoch(epoch, start_batch))

    def _timed(self, batches: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        with closing(batches):
            while True:
                with self._clock.time("wait_tokens"):
                    batch = next(batches, None)
                if batch is None:
                    return
                yield batch
                del batch  # frees its memory for another batch

    def feed_report(self) -> str:
        """Return the pace of the images so far and the time that training waited for them."""
        seconds = time.perf_counter() - (self._started or time.perf_counter())
        waited = self._clock.seconds.get("wait_tokens", 0.0)
        share = 100 * waited / seconds if seconds else 0.0
        return f"{self._source.pace}; training waited for them {share:.0f} % of the time"


@dataclass(frozen=True)
class ImageTokens:
    """Tokens of a split's images, which every process of a training computes itself.

    model, precision: as `load_clip`; job: images, decoding and dtype; key: hook and layer.
    batch_tokens, seed, tokens: as `TokenStream`.
    """

    model: ModelSource
    precision: str
    job: ExtractJob
    key: Key
    batch_tokens: int
    seed: int
    tokens: str = "all"

    def open(
        self,
        *,
        on_gpu: bool = False,
        threads: int = 1,
        progress: bool = False,
        log: Callable[[str], None] = lambda line: None,
    ) -> LiveStream:
        """Load the model and return the stream; `threads` decode."""
        device = f"cuda:{torch.cuda.current_device()}" if on_gpu else "cpu"
        source = LiveSource(
            load_clip(self.model, device=device, precision=self.precision),
            self.job,
            self.key,
            decode_workers=threads,
            progress=progress,
            log=log,
        )
        return LiveStream(
            source,
            batch_tokens=self.batch_tokens,
            seed=self.seed,
            tokens=self.tokens,
            **({"raw": True, "allocate": pinned} if on_gpu else {}),
        )
