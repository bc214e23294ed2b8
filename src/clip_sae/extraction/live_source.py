"""Tokens computed from images on request, as a `TokenStream` source without a store.

§3, Eq. 3 (training data of SAEs), for disks without room for a store. One chunk of the store that
extraction would write is one forward pass, so its tokens depend on its images alone: not on the
epoch, the window, or the point at which a training was resumed.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from clip_sae.clip.batching import SmallerBatches
from clip_sae.clip.model import Key
from clip_sae.extraction.extract import Tower
from clip_sae.extraction.job import ExtractJob
from clip_sae.extraction.stages import HostTokens, StageClock, decoded_batches, to_host
from clip_sae.store import Chunk, StoreLayout, checked_absmax

SECONDS_PER_LINE = 60.0


class LiveSource:
    """A `ChunkSource` that runs the images of an extraction instead of reading its store.

    model, job: of the extraction; `job.stores` is not used.
    key: hook and layer.
    decode_workers: threads that decode ahead of the forward pass.
    progress, log: a bar over the images of a window, and a line a minute.

    Attributes:
        keeps: True if chunks stay in memory once computed (all must name the same arrays).
        clock: seconds of "decode" (all threads), "wait_decode" and "forward".
        images: number of images run so far.
    """

    def __init__(
        self,
        model: Tower,
        job: ExtractJob,
        key: Key,
        *,
        decode_workers: int = 1,
        progress: bool = False,
        log: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.model, self.job, self.key = model, job, key
        self.keeps, self.clock, self.images = False, StageClock(), 0
        self._kept: dict[int, dict[str, np.ndarray]] = {}
        self._workers, self._progress, self._log = decode_workers, progress, log
        self._sources = job.sources()
        self._smaller = SmallerBatches()
        self._next_line = time.monotonic() + SECONDS_PER_LINE
        self._cuda_stream: torch.cuda.Stream | None = None
        if model.device.type == "cuda":
            # A separate stream, so that a chunk does not wait for all queued steps of training.
            self._cuda_stream = torch.cuda.Stream(model.device)
            self._cuda_stream.wait_stream(torch.cuda.current_stream(model.device))

    @property
    def path(self) -> Path:
        """Folder of the images, for messages."""
        return self.job.data_root

    @property
    def layout(self) -> StoreLayout:
        """Layout of the store that extraction would write."""
        return self.job.layout

    @property
    def n_images(self) -> int:
        return self.layout.n_images

    @property
    def d_model(self) -> int:
        return self.layout.d_model

    @property
    def disk_dtype(self) -> np.dtype:
        """NumPy dtype to which the tokens are rounded."""
        return self.layout.arrays["cls"].disk_dtype

    def token_shape(self, tokens: str) -> tuple[int, int]:
        """Return the shape of one image for "all", "cls" or "patch": [token, d_model]."""
        n_patches = self.layout.n_patches
        return {"all": 1 + n_patches, "cls": 1, "patch": n_patches}[tokens], self.d_model

    def read_chunks(self, chunks: Sequence[Chunk]) -> Iterator[None]:
        """Fill the chunks in order, one per step; the next one is decoded and started meanwhile.

        Raises BadImageError for an image that cannot be decoded, ActivationOverflow for a value
        that does not fit the dtype.
        """
        lacking = [chunk for chunk in chunks if chunk.start not in self._kept]
        with closing(self._compute(lacking)) as computed:
            for chunk in chunks:
                if kept := self._kept.get(chunk.start):
                    for name, rows in chunk.arrays.items():
                        rows[:] = kept[name]
                else:
                    next(computed)
                    if self.keeps:
                        copies = {name: rows.copy() for name, rows in chunk.arrays.items()}
                        self._kept[chunk.start] = copies
                yield

    def _compute(self, chunks: Sequence[Chunk]) -> Iterator[None]:
        """Fill the chunks from their images, one per step."""
        batches = decoded_batches(
            self._sources,
            [(chunk.start, chunk.stop) for chunk in chunks],
            self.job.decode,
            self.job.architecture.image_size,
            workers=self._workers,
            pinned=self._cuda_stream is not None,
            clock=self.clock,
        )
        total = sum(chunk.stop - chunk.start for chunk in chunks)
        hidden = not (self._progress and chunks)
        bar = tqdm(total=total, desc="images", unit="image", leave=False, disable=hidden)
        with closing(batches), bar:
            running: tuple[Chunk, HostTokens] | None = None
            for chunk, images in zip(chunks, batches, strict=True):
                started = chunk, self._start(chunk, images)
                if running:
                    self._finish(*running, bar)
                    yield
                running = started
            if running:
                self._finish(*running, bar)
                yield

    def _start(self, chunk: Chunk, images: Tensor) -> HostTokens:
        """Start the forward pass of a chunk's images [image, height, width, channel]."""
        first = 0 if "cls" in chunk.arrays else 1
        last = None if "patch" in chunk.arrays else 1

        def run(part: Tensor) -> Tensor:
            found = self.model.run_to_pairs(self.model.normalise(part), [self.key])
            return found[self.key][:, first:last]

        # Grad mode belongs to a thread, and this may be a thread of the token stream.
        with self.clock.time("forward"), torch.inference_mode(), self._on_own_stream():
            return to_host(self._smaller(run, images), self.layout.dtype)

    def _finish(self, chunk: Chunk, host: HostTokens, bar: tqdm) -> None:
        with self.clock.time("forward"):
            tokens = host.numpy()  # [image token d_model]
        taken = 0
        for name in ("cls", "patch"):
            if name not in chunk.arrays:
                continue
            per_image = self.token_shape(name)[0]
            rows = chunk.arrays[name].reshape(len(tokens), per_image, self.d_model)
            rows[:] = tokens[:, taken : taken + per_image]
            taken += per_image
            checked_absmax(
                rows[:, 0] if name == "cls" else rows,
                self.layout.dtype,
                name,
                lambda i: self._describe(chunk.start + i),
            )
        self.images += len(tokens)
        bar.update(len(tokens))
        if time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + SECONDS_PER_LINE
            self._log(f"images {bar.n:,}/{bar.total:,} of this window: {self.pace}")

    def _describe(self, row: int) -> str:
        hook, layer = self.key
        return (
            f"{hook} of layer {layer}: image row {row} ({self._sources[row][0]}, manifest row "
            f"{self.job.source_index[row]})"
        )

    def _on_own_stream(self) -> AbstractContextManager:
        return torch.cuda.stream(self._cuda_stream) if self._cuda_stream else nullcontext()

    @property
    def pace(self) -> str:
        """Images per second of decoding and forward pass, and the slower one of the two."""
        seconds = self.clock.seconds
        waited, ran = (seconds.get(stage, 0.0) for stage in ("wait_decode", "forward"))
        rate = self.images / (waited + ran) if waited + ran else 0.0
        return f"{rate:,.0f} images/s, mostly {'decoding' if waited > ran else 'forward pass'}"
