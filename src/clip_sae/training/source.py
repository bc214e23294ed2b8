"""The stream of tokens as training reads it: batches by step, and starting values of `b_dec`.

Steering paper App. 10 (b_dec at the geometric median); the stream itself is clip_sae.store's.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch

from clip_sae.planning.recipes import SaeRecipe
from clip_sae.training.targets import NormedBatch
from clip_sae.training.weights import centre


class TrainingError(RuntimeError):
    """A training that cannot go on; the message names the SAE and the change to make."""


class TokenSource(Protocol):
    """The part of clip_sae.store.TokenStream that training uses."""

    n_batches: int

    def epoch(self, epoch: int, start_batch: int = 0) -> Iterator[np.ndarray]: ...


def batches(stream: TokenSource, start: int, steps: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (step, batch) from `start` to `steps` over as many epochs as that takes."""
    step = start
    while step < steps:
        epoch, batch = divmod(step, stream.n_batches)
        before = step
        wanted = min(stream.n_batches - batch, steps - step)
        with _closing(stream.epoch(epoch, batch)) as source:
            for tokens in itertools.islice(source, wanted):
                yield step, tokens
                step += 1
        if step - before < wanted:
            return


class StartingPoints:
    """Starting values of `b_dec`, computed once for all SAEs that share them."""

    def __init__(self, stream: TokenSource, d_model: int, device: torch.device) -> None:
        self._stream, self._copy = stream, DeviceCopies(d_model, device)
        self._known: dict[tuple, torch.Tensor] = {}
        self._tokens: dict[int, torch.Tensor] = {}

    def b_dec(self, recipe: SaeRecipe) -> torch.Tensor:
        """Return b_dec [d_model] from the first `init_tokens` tokens of the first epoch.

        In the normed space, where b_dec is used; the papers' codes take raw tokens.
        """
        norm = recipe.input_norm if recipe.form == "standard" else "none"
        key = (recipe.b_dec_init, norm, recipe.init_tokens)
        if key not in self._known:
            if recipe.init_tokens not in self._tokens:
                self._tokens[recipe.init_tokens] = self._first_tokens(recipe.init_tokens)
            tokens = NormedBatch.of(self._tokens[recipe.init_tokens], norm).z
            self._known[key] = centre(tokens, recipe.b_dec_init)
        return self._known[key]

    def _first_tokens(self, count: int) -> torch.Tensor:
        parts: list[torch.Tensor] = []
        with _closing(self._stream.epoch(0)) as source:
            for batch in source:
                parts.append(self._copy(batch))
                if sum(map(len, parts)) >= count:
                    break
        return torch.cat(parts)[:count]


class DeviceCopies:
    """Takes batches to the device in float32, whatever the store's dtype.

    A GPU copies from pinned memory while it computes, and widens the numbers itself. A batch is
    held until its copy has ended, because the stream reuses memory that has no holder.
    """

    def __init__(self, d_model: int, device: torch.device) -> None:
        self._d_model, self._device = d_model, device
        self._in_flight: collections.deque = collections.deque()

    def __call__(self, batch: np.ndarray) -> torch.Tensor:
        """Return a batch [token, d_model] of float32, float16 or bfloat16's bits as float32."""
        if batch.ndim != 2 or batch.shape[1] != self._d_model:
            raise TrainingError(
                f"the stream gives batches of shape {batch.shape}; expected "
                f"[token, {self._d_model}]. Use the store of the layer and model that the SAE is "
                f"for."
            )
        if self._device.type == "cpu" and batch.dtype == np.float32:
            # Copied: the stream may reuse its memory, and torch aligns its own.
            return torch.tensor(batch)
        host = torch.from_numpy(batch)
        if host.dtype == torch.uint16:
            host = host.view(torch.bfloat16)
        there = host.to(self._device, non_blocking=True)
        if self._device.type == "cuda":
            self._hold(host)
        return there.float() if there.dtype != torch.float32 else there.clone()

    def _hold(self, host: torch.Tensor) -> None:
        while self._in_flight and self._in_flight[0][0].query():
            self._in_flight.popleft()
        copied = torch.cuda.Event()
        copied.record()
        self._in_flight.append((copied, host))


def pinned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return memory for a stream's batches that a GPU copies from; uint16 holds bfloat16's bits."""
    return torch.empty(shape, dtype=getattr(torch, dtype.name), pin_memory=True).numpy()


def _closing(source: Iterator[np.ndarray]) -> contextlib.AbstractContextManager:
    """Return a context that stops a stream's reader thread; plain iterators have none."""
    return (
        contextlib.closing(source) if hasattr(source, "close") else contextlib.nullcontext(source)
    )
