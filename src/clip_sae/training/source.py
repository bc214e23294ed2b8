"""The stream of tokens as training reads it: batches by step, and starting values of `b_dec`.

Steering paper App. 10 (b_dec at the geometric median); the stream itself is clip_sae.store's.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch

from clip_sae.recipes import SaeRecipe
from clip_sae.training.targets import NormedBatch
from clip_sae.training.weights import centre


class TrainingError(RuntimeError):
    """A training that cannot go on; the message names the SAE and what to change."""


class TokenSource(Protocol):
    """The part of clip_sae.store.TokenStream that training reads."""

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
        self._stream, self._d_model, self._device = stream, d_model, device
        self._known: dict[tuple, torch.Tensor] = {}
        self._tokens: dict[int, torch.Tensor] = {}

    def b_dec(self, recipe: SaeRecipe) -> torch.Tensor:
        """Return b_dec [d_model] from the first `init_tokens` tokens of the first epoch.

        In the normed space, where b_dec is used; prisma_compat takes raw tokens, as its code does.
        """
        norm = "none" if recipe.form == "prisma_compat" else recipe.input_norm
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
                parts.append(to_device(batch, self._d_model, self._device))
                if sum(map(len, parts)) >= count:
                    break
        return torch.cat(parts)[:count]


def to_device(batch: np.ndarray, d_model: int, device: torch.device) -> torch.Tensor:
    """Copy a batch: the stream may reuse its buffer, and torch aligns its own memory."""
    if batch.ndim != 2 or batch.shape[1] != d_model:
        raise TrainingError(
            f"the stream gives batches of shape {batch.shape}; expected [token, {d_model}]. "
            f"Use the store of the layer and model that the SAE is for."
        )
    return torch.tensor(batch, dtype=torch.float32, device=device)


def _closing(source: Iterator[np.ndarray]) -> contextlib.AbstractContextManager:
    """Stop a stream's reader thread when a pass ends early; plain iterators have none."""
    return (
        contextlib.closing(source) if hasattr(source, "close") else contextlib.nullcontext(source)
    )
