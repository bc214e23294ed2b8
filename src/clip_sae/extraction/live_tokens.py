"""Training straight from images: a shuffled stream of tokens for which no store is written.

§3, Eq. 3. The order of tokens and their rounding are those of the store that extraction would have
written, so an SAE trained from it is the same; what is saved is the disk, what it costs is a
forward pass per image, layer and epoch (docs/streaming.md).
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
    """A `TokenStream` of a `LiveSource` that knows who waits for whom; options as there."""

    def __init__(self, source: LiveSource, **options: object) -> None:
        super().__init__(source, **options)
        self._clock, self._source = source.clock, source
        self._asked: float | None = None
        # What fits stays: in one window by the stream itself, in several by the source.
        source.keeps = self.fits and self._plan.n_windows > 1

    def epoch(self, epoch: int, start_batch: int = 0) -> Iterator[np.ndarray]:
        """As `TokenStream.epoch`; the caller's waiting is timed."""
        self._asked = time.perf_counter() if self._asked is None else self._asked
        return self._timed(super().epoch(epoch, start_batch))

    def _timed(self, batches: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        with closing(batches):
            while True:
                with self._clock.time("wait_tokens"):
                    batch = next(batches, None)
                if batch is None:
                    return
                yield batch
                del batch  # its memory serves again when nobody refers to it

    def feed_report(self) -> str:
        """Pace of the images so far, and whether training waited for them most of its time."""
        seconds = time.perf_counter() - (self._asked or time.perf_counter())
        waited = self._clock.seconds.get("wait_tokens", 0.0)
        share = 100 * waited / seconds if seconds else 0.0
        return f"{self._source.pace}; training waited for them {share:.0f} % of the time"


@dataclass(frozen=True)
class ImageTokens:
    """Tokens of a split's images, computed by every process of a training for itself.

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
