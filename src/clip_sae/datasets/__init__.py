"""Data sets as one manifest each, and images as the pixels CLIP sees.

Serves every figure and table: ImageNet (Tables 3, 4, Figs 4-8), typographic sets (Table 2),
Waterbirds and CelebA (Tables 1, 5-8).
"""

from clip_sae.datasets.attack.pairs import pair_rows
from clip_sae.datasets.augment import augment_image, operation_list
from clip_sae.datasets.augmented import augment_index
from clip_sae.datasets.counts import OFFICIAL
from clip_sae.datasets.images import BadImageError, ImageFacts, check_image, decode_image
from clip_sae.datasets.index import KINDS, index_dataset
from clip_sae.datasets.listing import DatasetError
from clip_sae.datasets.manifest import (
    DatasetIndex,
    attribute_columns,
    read_classes,
    read_index,
    read_manifest,
    write_index,
)

__all__ = [
    "KINDS",
    "OFFICIAL",
    "BadImageError",
    "DatasetError",
    "DatasetIndex",
    "ImageFacts",
    "attribute_columns",
    "augment_image",
    "augment_index",
    "check_image",
    "decode_image",
    "index_dataset",
    "operation_list",
    "pair_rows",
    "read_classes",
    "read_index",
    "read_manifest",
    "write_index",
]
