"""The interface of an SAE architecture, and the registry of all. No torch at import."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

from clip_sae.planning.recipe_values import (
    BOOLEAN,
    COUNT,
    COUNT_OR_AUTO,
    NOT_NEGATIVE,
    WHOLE,
    key,
    keys_of,
)

if TYPE_CHECKING:
    from torch import Tensor

    from clip_sae.sae.folding import Arrays
else:
    Tensor = Arrays = object  # names for annotations, since planning must not load torch

_KNOWN: dict[str, type[SaeArchitecture]] = {}


class SaeWeights(Protocol):
    """The arrays of an SAE that `encode` reads; the encoder is stored by rows."""

    W_enc_rows: Tensor  # [latent, d_model]
    b_enc: Tensor  # [latent]
    W_dec: Tensor  # [latent, d_model]
    b_dec: Tensor  # [d_model]
    own: dict[str, Tensor]  # [latent] each; the arrays of `SaeArchitecture.start`


class Code(NamedTuple):
    """The result of `encode` for a batch.

    `latents` [token, latent] >= 0. `penalty` (scalar): the sparsity term, a mean over tokens, which
    the warm-up scales. `frozen` [token, latent]: latents whose own reconstruction, through a
    decoder that is a constant to it, is added to the loss (Gated).
    """

    latents: Tensor
    penalty: Tensor | float = 0.0
    frozen: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class SaeArchitecture:
    """The keys of one architecture as fields, and how its latents are computed and saved.

    `forms`: forms of the reconstruction loss that it can be trained with. `trained_as`: SAELens'
    word for its training. `read_as`: how a finished SAE is read, "vanilla" (ReLU), "topk" (with a
    field `k`) or "jumprelu" (a threshold per latent); SAELens' files know no others.
    `running_threshold`: that threshold is the mean over batches of the smallest latent kept.
    """

    name: ClassVar[str]
    forms: ClassVar[tuple[str, ...]] = ("standard",)
    trained_as: ClassVar[str]
    read_as: ClassVar[str] = "vanilla"
    running_threshold: ClassVar[bool] = False

    def encode(self, z: Tensor, w: SaeWeights) -> Code:
        """Return the latents of a batch z [token, d_model] (b_dec subtracted), differentiably."""
        raise NotImplementedError

    def start(self) -> dict[str, float]:
        """Return the arrays [latent] beyond the four of every SAE, with their starting values."""
        return {}

    def nested(self, d_sae: int) -> tuple[int, ...]:
        """Return numbers of latents m, ascending to `d_sae`.

        The loss is the mean of the reconstruction losses of the first m latents.
        """
        return (d_sae,)

    def settle(self, w: SaeWeights) -> None:
        """Restore constraints on the weights, in place, after an optimiser step."""

    def folded(self, arrays: Arrays, own: Mapping[str, Tensor]) -> Arrays:
        """Return the arrays as `read_as` reads them, with unit rows in W_dec."""
        return arrays

    def mistakes(self, form: str) -> Iterator[str]:
        """Yield a sentence for each combination of values that cannot be trained."""
        yield from ()

    @property
    def sparsity_knob(self) -> str:
        """Name of the key that decides how many latents are active."""
        return next(name for name, found in keys_of(type(self)).items() if found.required)

    @property
    def unit_norm(self) -> bool:
        """Return True if training holds the decoder's rows at norm 1."""
        return True

    @property
    def initial_row_norm(self) -> float:
        """Norm of the decoder's rows before training."""
        return 1.0


def register(name: str) -> Callable[[type], type]:
    """Return a decorator that makes an architecture known under the config's word for it."""

    def add(kind: type) -> type:
        kind.name = name
        _KNOWN[name] = kind
        return kind

    return add


def architectures() -> dict[str, type[SaeArchitecture]]:
    """Return every architecture by name: those of this folder's files, then others."""
    _import_all()
    return dict(_KNOWN)


@cache
def _import_all() -> None:
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if path.stem not in ("__init__", "base"):
            import_module(f"{__package__}.{path.stem}")


def pre_activations(z: Tensor, w: SaeWeights) -> Tensor:
    """Return z W_enc + b_enc [token, latent]."""
    return z @ w.W_enc_rows.T + w.b_enc


# Keys that several architectures have.


def k_key(help: str = "active latents per token") -> int:
    """Return the field of `k`."""
    return key(COUNT, help, example=32, latents=True)


def l1_key(help: str = "weight of the L1 term, in the units of `form`") -> float:
    """Return the field of `l1_coefficient`."""
    return key(NOT_NEGATIVE, help, example=1.0e-4)


def warmup_key() -> int:
    """Return the field of `sparsity_warmup_steps`."""
    return key(WHOLE, "linear warm-up of the sparsity term, steps", default=0)


def ghost_grads_key() -> bool:
    """Return the field of `ghost_grads`."""
    return key(BOOLEAN, "Anthropic's ghost gradients revive dead latents", default=False)


def aux_k_key(default: str | None = "auto") -> int | str | None:
    """Return the field of `aux_k`."""
    help = "dead latents that AuxK revives by reconstructing the error; auto is d_model / 2"
    return key(COUNT_OR_AUTO.or_null(" for no AuxK"), help, default=default)
