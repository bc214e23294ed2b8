"""The training-free baseline of Table 2: silence the attention heads that look at written words.

After Dyslexify (Hufe et al. 2025, arXiv 2508.20570). Heads are ranked by how much more of CLS's
attention falls inside the box of the written word than inside a box of the same size elsewhere in
the same image; they are silenced one after another while clean images keep their accuracy.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from clip_sae.analyses.shared.models import class_names, load_model, prompts
from clip_sae.analyses.typographic.cls_attention import Head, cls_attention, heads_of, silenced
from clip_sae.clip.model import ClipModel
from clip_sae.clip.zeroshot import class_embeddings
from clip_sae.datasets.manifest import pair_rows, read_manifest
from clip_sae.datasets.pixels import pixels_of
from clip_sae.planning.inputs import ClipFiles, ImageFiles

BATCH_IMAGES = 128
Box = tuple[int, int, int, int]  # left, top, right, bottom in px, right and bottom outside


def measure_heads(
    job,
    *,
    clip: ClipFiles,
    images: ImageFiles,
    heads: Mapping,
    template: str | Sequence[str],
    max_clean_cost: float,
    seed: int,
) -> pd.DataFrame:
    """Return a row per head, as `choose_heads`.

    Args:
        images: of the attacked copy; its validation pairs are used.
        heads: {"max_images", "max_heads"}.
    """
    model = load_model(job, clip)
    manifest = read_manifest(images.index, "val")
    pairs = pair_rows(manifest)
    # Drawn at random: manifests are sorted, so their first rows hold only a few classes.
    pairs = pairs.sample(min(len(pairs), heads["max_images"]), random_state=seed).sort_index()

    def batches(side: str) -> list[torch.Tensor]:
        return [*pixel_batches(model, images, manifest.loc[pairs[side]])]

    ranked = rank_heads(model, batches("attacked"), _boxes(images, pairs), seed)
    clean = batches("clean")
    text = class_embeddings(model, class_names(images.index), prompts(template)).cpu()
    labels = torch.tensor(manifest.loc[pairs["clean"], "label_idx"].to_numpy())

    def clean_accuracy(heads_off) -> float:
        found = embeddings_without_heads(model, clean, heads_off) @ text.T
        return float((found.argmax(-1) == labels).double().mean())

    chosen, table = choose_heads(ranked, clean_accuracy, max_clean_cost, heads["max_heads"])
    job.log.info("%d of %d heads are silenced: %s", len(chosen), len(table), chosen)
    job.facts["n_images"] = len(pairs)
    return table


def _boxes(images: ImageFiles, pairs: pd.DataFrame) -> list[Box]:
    """Return the box of the written word on each attacked image, in the order of `pairs`."""
    table = pd.read_csv(images.root / "attacks.csv").set_index("path").loc[pairs["path"]]
    boxes = table[["left", "top", "right", "bottom"]].to_numpy().tolist()
    return [tuple(box) for box in boxes]


def box_share(box: Box, grid: int, patch_size: int) -> np.ndarray:
    """Return the share [patch] of each patch's area inside the box, row-major."""
    left, top, right, bottom = box
    edges = np.arange(grid + 1) * patch_size

    def overlap(low: int, high: int) -> np.ndarray:
        inside = np.minimum(edges[1:], high) - np.maximum(edges[:-1], low)
        return np.maximum(inside, 0) / patch_size

    return np.outer(overlap(top, bottom), overlap(left, right)).ravel()


def box_elsewhere(box: Box, side: int, rng: np.random.Generator, tries: int = 200) -> Box:
    """Return the box of equal size, among random ones, that overlaps `box` least."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    xs = rng.integers(0, side - width + 1, tries)
    ys = rng.integers(0, side - height + 1, tries)
    across = np.minimum(xs + width, right) - np.maximum(xs, left)
    down = np.minimum(ys + height, bottom) - np.maximum(ys, top)
    best = int(np.argmin(np.maximum(across, 0) * np.maximum(down, 0)))
    x, y = int(xs[best]), int(ys[best])
    return (x, y, x + width, y + height)


def rank_heads(
    model: ClipModel, batches: Sequence[Tensor], boxes: Sequence[Box], seed: int = 0
) -> pd.DataFrame:
    """Return heads by attention inside the word's box minus that inside a matched box, descending.

    Args:
        batches: normalised pixels of attacked images, in the order of `boxes`.

    Columns: layer, head, inside, elsewhere, score (means over images of CLS's attention).
    """
    rng = np.random.default_rng(seed)
    geometry = (model.architecture.grid, model.architecture.patch_size)
    side = model.architecture.image_size
    inside = torch.from_numpy(np.stack([box_share(box, *geometry) for box in boxes])).float()
    other = [box_share(box_elsewhere(box, side, rng), *geometry) for box in boxes]
    elsewhere = torch.from_numpy(np.stack(other)).float()
    sums, start = 0.0, 0
    for pixels in batches:
        rows = slice(start, start + len(pixels))
        start += len(pixels)
        attention = cls_attention(model, pixels)[..., 1:].cpu()  # [image layer head patch]
        sums = sums + torch.stack(
            [torch.einsum("ilhp,ip->lh", attention, share[rows]) for share in (inside, elsewhere)]
        )
    if start != len(boxes):
        raise ValueError(f"{start} images but {len(boxes)} boxes; each image needs its own.")
    means = (sums / start).flatten(1).numpy()
    table = pd.DataFrame(heads_of(model), columns=["layer", "head"])
    table = table.assign(inside=means[0], elsewhere=means[1], score=means[0] - means[1])
    return table.sort_values("score", ascending=False, kind="stable", ignore_index=True)


def choose_heads(
    ranked: pd.DataFrame,
    clean_accuracy: Callable[[Sequence[Head]], float],
    max_clean_cost: float,
    max_heads: int | None = None,
    progress: bool = True,
) -> tuple[list[Head], pd.DataFrame]:
    """Add heads in the order of their rank while the clean accuracy holds.

    A head whose silencing would push the accuracy more than `max_clean_cost` below that of the
    untouched model is passed over, and the next one is tried. Only heads with a positive score
    are tried.

    Args:
        clean_accuracy: of validation images with the given heads silenced.

    Returns the heads, and `ranked` with the columns clean_accuracy and silenced.
    """
    floor = clean_accuracy([]) - max_clean_cost - 1e-9
    chosen: list[Head] = []
    accuracies, kept = [], []
    tried = ranked[ranked["score"] > 0].head(max_heads or len(ranked))
    for row in tqdm(tried.itertuples(), total=len(tried), desc="heads", disable=not progress):
        head = (int(row.layer), int(row.head))
        accuracy = clean_accuracy([*chosen, head])
        keep = accuracy >= floor
        if keep:
            chosen.append(head)
        accuracies.append(accuracy)
        kept.append(keep)
    rest = len(ranked) - len(tried)
    table = ranked.assign(
        clean_accuracy=accuracies + [float("nan")] * rest, silenced=kept + [False] * rest
    )
    return chosen, table


@torch.inference_mode()
def embeddings_without_heads(
    model: ClipModel, batches: Iterable[Tensor], heads: Sequence[Head]
) -> Tensor:
    """Return unit embeddings [image, d_embed] with the heads silenced; () is the clean model."""
    with silenced(model, heads):
        return torch.cat([model.embed_images(pixels).cpu() for pixels in batches])


def pixel_batches(model: ClipModel, images: ImageFiles, rows: pd.DataFrame) -> Iterator[Tensor]:
    """Yield normalised pixels of manifest rows, in order: even batches of at most BATCH_IMAGES."""
    n_batches = max(1, -(-len(rows) // BATCH_IMAGES))
    for part in np.array_split(np.arange(len(rows)), n_batches):
        yield model.normalise(pixels_of(images, rows.iloc[part]))
