"""The definition of an extraction: images, model sizes, preprocessing and stores.

§4.1 (the activations SAEs are trained on). Everything here decides the numbers in the stores;
options that do not (device, batch size, threads) belong to `extract`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import repeat
from pathlib import Path

import numpy as np
import pandas as pd

from clip_sae.clip.model import Key
from clip_sae.datasets.images import MAX_PIXELS, decode_image
from clip_sae.planning.architecture import Architecture
from clip_sae.store import StoreLayout, StoreWriter


@dataclass(frozen=True)
class ExtractJob:
    """Everything that decides the numbers in the stores of an extraction.

    manifest: rows of one split, as `read_manifest` returns them; only rows of status "ok" are used.
    data_root: the folder that `path` of the manifest is relative to.
    stores, specs: folder and spec of each (hook, layer).
    seed: of the one permutation of the images; max_images: use its first images, None for all.
    dtype, chunk_mb, min_shards, compression: of the stores, see `StoreLayout.choose`.
    n_prompts: learned tokens of an adapted model, after the patches; 0 for a frozen one.
    preprocess, exif, max_pixels: see `decode_image`.
    fingerprints: of the inputs' content (manifest, weights); a store started with others is refused
        or rebuilt. attributes: provenance, recorded and never compared.
    """

    manifest: pd.DataFrame
    data_root: Path
    stores: Mapping[Key, Path]
    specs: Mapping[Key, dict]
    architecture: Architecture
    seed: int = 0
    max_images: int | None = None
    dtype: str = "float16"
    chunk_mb: float = 5.0
    min_shards: int = 8
    compression: str = "none"
    n_prompts: int = 0
    preprocess: str = "clip"
    exif: str = "apply"
    max_pixels: int = MAX_PIXELS
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, object] = field(default_factory=dict)

    @cached_property
    def source_index(self) -> np.ndarray:
        """Row in manifest.csv of each store row, int64 [image]: the usable rows, permuted once.

        Labels of the frame's index: `manifest.loc[source_index]` is in store order.
        """
        usable = self.manifest.index[self.manifest["status"] == "ok"].to_numpy(np.int64)
        if not len(usable):
            raise ValueError(
                f"no image to extract: none of the {len(self.manifest)} manifest rows has status "
                "'ok'. See their column `reason`, fix the data set and index it again."
            )
        return np.random.default_rng(self.seed).permutation(usable)[: self.max_images]

    @cached_property
    def layout(self) -> StoreLayout:
        """Layout of every store of this job."""
        sizes = (len(self.source_index), self.architecture.n_patches, self.architecture.d_model)
        return StoreLayout.choose(
            *sizes,
            self.dtype,
            chunk_mb=self.chunk_mb,
            min_shards=self.min_shards,
            n_prompts=self.n_prompts,
            compression=self.compression,
        )

    def open_writers(self, rebuild: bool = False) -> dict[Key, StoreWriter]:
        """Create or reopen all stores; the writer refuses a folder of another spec.

        With `rebuild` a store that was started with other inputs or another layout is deleted and
        started again; no other process may write to it.
        """
        return {
            (hook, layer): StoreWriter(
                path,
                self.layout,
                spec=self.specs[hook, layer],
                source_index=self.source_index,
                attributes={"hook": hook, "layer": layer, **self.attributes},
                fingerprints=dict(self.fingerprints),
                rebuild=rebuild,
            )
            for (hook, layer), path in self.stores.items()
        }

    def decode(self, path: Path, operation: str = "", parameter: str = "") -> np.ndarray:
        """Return one image as uint8 [height, width, channel]."""
        return decode_image(
            path,
            image_size=self.architecture.image_size,
            preprocess=self.preprocess,
            exif=self.exif,
            max_pixels=self.max_pixels,
            operation=operation,
            parameter=parameter,
        )

    def sources(self) -> list[tuple[Path, str, str]]:
        """Return (path, operation, parameter) of each store row, the arguments of `decode`."""
        columns = (
            self.manifest[name].loc[self.source_index] if name in self.manifest else repeat("")
            for name in ("operation", "parameter")
        )
        return list(zip(self.paths(), *columns, strict=False))

    def paths(self) -> list[Path]:
        """Path of the image of each store row."""
        return [self.data_root / path for path in self.manifest["path"].loc[self.source_index]]
