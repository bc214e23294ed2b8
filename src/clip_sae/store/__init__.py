"""Activation stores: CLIP residuals on disk as Zarr v3, one folder per hook and layer.

Holds what the SAEs of §3 (Eq. 3) are trained on and every later analysis starts from.

  layout, hierarchy, parts            the files of a store and their content
  shard_file, codecs                  one shard file, plain or compressed
  writer, range_writer, encoding      writing a store
  reader                              reading a store
  stream, shuffle, windows, batches   shuffled batches for training
  verify                              checking and repairing a store
"""

from .encoding import checked_absmax, to_float32
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
from .parts import ArrayStats
from .range_writer import RangeWriter
from .reader import ActivationStore
from .stream import TokenStream
from .verify import Damage, VerifyReport, verify_store
from .windows import Chunk, ChunkSource
from .writer import StoreWriter

__all__ = [
    "COMPLETE",
    "ActivationOverflow",
    "ActivationStore",
    "ArrayStats",
    "Chunk",
    "ChunkSource",
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
