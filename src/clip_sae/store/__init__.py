"""Activation stores: CLIP residuals on disk as Zarr v3, one folder per hook and layer.

Holds what the SAEs of §3 (Eq. 3) are trained on and every later analysis starts from.

  layout, shard_file, hierarchy, parts   what lies where
  writer, range_writer, encoding         making a store
  reader, shuffle, stream, prefetch      reading it
  verify                                 checking and repairing it
"""

from .encoding import to_float32
from .errors import ActivationOverflow, StoreDamaged, StoreError, StoreIncomplete, StoreMismatch
from .files import COMPLETE
from .layout import StoreLayout
from .parts import ArrayStats
from .range_writer import RangeWriter
from .reader import ActivationStore
from .stream import TokenStream
from .verify import Damage, VerifyReport, verify_store
from .writer import StoreWriter

__all__ = [
    "COMPLETE",
    "ActivationOverflow",
    "ActivationStore",
    "ArrayStats",
    "Damage",
    "RangeWriter",
    "StoreDamaged",
    "StoreError",
    "StoreIncomplete",
    "StoreLayout",
    "StoreMismatch",
    "StoreWriter",
    "TokenStream",
    "VerifyReport",
    "to_float32",
    "verify_store",
]
