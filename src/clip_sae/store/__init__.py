"""Activation stores: CLIP residuals on disk as Zarr v3, one folder per hook and layer.

Holds what the SAEs of §3 (Eq. 3) are trained on and every later analysis starts from.

  layout, hierarchy, parts                       what lies where
  shard_file, packed_shard, codecs               one file of it, plain or compressed
  writer, range_writer, encoding, overflow       making a store
  reader, blocks                                 reading it, and what could take its place
  stream, shuffle, window_buffer, batch_pool,
  prefetch                                       serving it to training, shuffled
  verify, range_check                            checking and repairing it
"""

from .blocks import Block, BlockSource
from .encoding import to_float32
from .errors import (
    ActivationOverflow,
    StoreDamaged,
    StoreError,
    StoreIncomplete,
    StoreMismatch,
    StoreNotWritten,
)
from .files import COMPLETE
from .layout import StoreLayout
from .overflow import checked_absmax
from .parts import ArrayStats
from .range_check import Damage
from .range_writer import RangeWriter
from .reader import ActivationStore
from .stream import TokenStream
from .verify import VerifyReport, verify_store
from .writer import StoreWriter

__all__ = [
    "COMPLETE",
    "ActivationOverflow",
    "ActivationStore",
    "ArrayStats",
    "Block",
    "BlockSource",
    "Damage",
    "RangeWriter",
    "StoreDamaged",
    "StoreError",
    "StoreIncomplete",
    "StoreLayout",
    "StoreMismatch",
    "StoreNotWritten",
    "StoreWriter",
    "TokenStream",
    "VerifyReport",
    "checked_absmax",
    "to_float32",
    "verify_store",
]
