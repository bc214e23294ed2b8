"""Which images are steered and which units run the full strength grid: seeded, and said so.

Steering paper §6. The authors took the first 192 files of ImageNet's validation set, sorted.
"""

import numpy as np
import pandas as pd

SAMPLINGS = ("stratified", "first_sorted")


def choose_images(
    manifest: pd.DataFrame, source_index: np.ndarray, n: int, *, sampling: str, seed: int
) -> np.ndarray:
    """Return store rows of `n` images (all there are, if fewer), [image] int64, in reading order.

    Args:
        manifest: rows of the data set; `source_index` [store row] points into its index.
        sampling: "stratified" draws equally often from every class, as far as `n` allows;
            "first_sorted" takes the first `n` by file name.
        seed: of the stratified draw.
    """
    if sampling not in SAMPLINGS:
        raise ValueError(f"sampling {sampling!r} does not exist; write {', '.join(SAMPLINGS)}.")
    rows = manifest.loc[np.asarray(source_index)].reset_index(drop=True)  # index: store row
    if sampling == "first_sorted":
        # By file name, as in the flat folder of the authors, whatever folders there are here.
        named = rows.assign(name=rows["path"].str.rsplit("/", n=1).str[-1])
        order = named.sort_values(["name", "path"], kind="stable").index
        return order.to_numpy()[:n].astype(np.int64)
    order = np.random.default_rng(seed).permutation(len(rows))
    # By path before the draw, so that the sample does not depend on the order in the store.
    shuffled = rows.sort_values("path", kind="stable").iloc[order]
    turn = shuffled.groupby("label_idx").cumcount()  # each class's first image, then its second
    taken = turn.sort_values(kind="stable").index.to_numpy()[:n]
    return np.asarray(taken, dtype=np.int64)


def systematic_sample(values: np.ndarray, n: int, *, seed: int) -> np.ndarray:
    """Return indices, ascending, of `n` units spread evenly over the order of `values` [unit].

    Every unit has the same chance, so means need no weights, and units of every size are there.
    """
    values = np.asarray(values)
    if n >= len(values):
        return np.arange(len(values))
    order = np.argsort(values, kind="stable")
    places = (np.arange(n) + np.random.default_rng(seed).random()) * len(values) / n
    return np.sort(order[places.astype(np.int64)])


def resample_weights(n_images: int, n_resamples: int, seed: int) -> np.ndarray:
    """Return [resample, image] float64, rows sum to 1: the weight of each image in each resample.

    The same for every unit, kind and layer, so that comparisons are paired.
    """
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(n_images, np.full(n_images, 1 / n_images), size=n_resamples)
    return counts / n_images
