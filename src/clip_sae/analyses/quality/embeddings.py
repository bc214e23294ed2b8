"""Embeddings of a split's images by any CLIP: the space in which latents are judged."""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from clip_sae.clip import ClipModel
from clip_sae.datasets import decode_image
from clip_sae.extraction_stages import StageClock, decoded_batches
from clip_sae.npz import read_arrays
from clip_sae.specs import write_bytes


@torch.inference_mode()
def embed_images(
    model: ClipModel,
    manifest: pd.DataFrame,
    root: Path,
    *,
    decoding: Mapping,
    batch_images: int = 256,
    workers: int = 1,
    progress: bool = True,
) -> np.ndarray:
    """Return embeddings of unit length [image, d_embed] float32 of the manifest's rows.

    Args:
        root: what the manifest's paths are relative to.
        decoding: `preprocess`, `exif` and `max_pixels` of `decode_image`; the size is the model's.
    """
    size = model.architecture.image_size

    def decode(path: str, operation: str, parameter: str) -> np.ndarray:
        return decode_image(
            Path(root) / path,
            image_size=size,
            operation=operation,
            parameter=parameter,
            **decoding,
        )

    columns = manifest[["path", "operation", "parameter"]]
    sources = list(columns.itertuples(index=False, name=None))
    starts = range(0, len(sources), batch_images)
    batches = decoded_batches(
        sources,
        [(start, min(start + batch_images, len(sources))) for start in starts],
        decode,
        size,
        workers=workers,
        pinned=model.device.type == "cuda",
        clock=StageClock(),
    )
    found = [
        model.embed_images(model.normalise(pixels)).float().cpu().numpy()
        for pixels in tqdm(batches, total=len(starts), desc="embed", disable=not progress)
    ]
    return np.concatenate(found)


def write_embeddings(path: Path, rows: np.ndarray, embeddings: np.ndarray) -> None:
    """Write [image] manifest rows and [image, d_embed] embeddings as one .npz."""
    buffer = io.BytesIO()
    np.savez(buffer, rows=rows, embeddings=embeddings)
    write_bytes(Path(path), buffer.getvalue())


def read_embeddings(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read (rows, embeddings) that `write_embeddings` wrote."""
    arrays = read_arrays(path)
    return arrays["rows"], arrays["embeddings"]
