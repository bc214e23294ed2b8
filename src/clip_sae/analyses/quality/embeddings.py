"""Embeddings of a split's images by any CLIP: the space in which latents are judged."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from clip_sae.clip.model import ClipModel
from clip_sae.datasets.pixels import decode_row
from clip_sae.extraction.stages import StageClock, decoded_batches
from clip_sae.npz import read_arrays, write_arrays
from clip_sae.planning.inputs import ImageFiles


@torch.inference_mode()
def image_embeddings(
    model: ClipModel,
    images: ImageFiles,
    rows: pd.DataFrame,
    *,
    batch_images: int = 256,
    workers: int = 1,
    progress: bool = True,
) -> np.ndarray:
    """Return embeddings of unit length [image, d_embed] float32 of rows of the manifest.

    The images have the size that `model` takes, whatever that of `images.decoding`.
    """
    size = model.architecture.image_size
    sources = [(row,) for row in rows.itertuples()]
    starts = range(0, len(sources), batch_images)
    batches = decoded_batches(
        sources,
        [(start, min(start + batch_images, len(sources))) for start in starts],
        lambda row: decode_row(images, row, image_size=size),
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
    write_arrays(path, {"rows": rows, "embeddings": embeddings})


def read_embeddings(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read (rows, embeddings) that `write_embeddings` wrote."""
    arrays = read_arrays(path)
    return arrays["rows"], arrays["embeddings"]
