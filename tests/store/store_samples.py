"""A small store to read, damage and resume: 3 ranges; the last, and its last chunk, are partial."""

from types import SimpleNamespace

import numpy as np

from clip_sae.store import StoreLayout, StoreWriter, to_float32

LAYOUT = StoreLayout(21, 3, 4, chunk_images=2, chunks_per_shard=4)
SPEC = {"layer": 5, "hook": "resid_post", "model": {"name": "tiny"}}


def values_of(layout, seed=0):
    """Return random float32 arrays that the dtype of the layout holds exactly."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for name, array in layout.arrays.items():
        x = rng.normal(size=(layout.n_images, *array.row_shape)).astype(np.float32)
        if layout.dtype == "bfloat16":
            x = to_float32((x.view(np.uint32) >> 16).astype(np.uint16))
        arrays[name] = x.astype(np.float16).astype(np.float32) if layout.dtype == "float16" else x
    return arrays


def write_ranges(writer, arrays, ranges=None, batch=5):
    for k in range(writer.layout.n_ranges) if ranges is None else ranges:
        start, stop = writer.layout.range_bounds(k)
        with writer.range(k) as part:
            for lo in range(start, stop, batch):
                hi = min(lo + batch, stop)
                part.put(**{name: x[lo:hi] for name, x in arrays.items()})


def open_writer(path, layout=LAYOUT, spec=SPEC, **options):
    index = np.arange(layout.n_images)[::-1]
    return StoreWriter(path, layout, spec=spec, source_index=index, **options)


def write_store(path, layout=LAYOUT, batch=5, **options):
    writer = open_writer(path, layout, **options)
    arrays = values_of(layout)
    write_ranges(writer, arrays, batch=batch)
    writer.complete()
    tokens = np.concatenate([arrays["cls"][:, None], arrays["patch"]], axis=1)
    return SimpleNamespace(path=path, layout=layout, arrays=arrays, tokens=tokens)


def tree(path):
    """Return every file below a folder with its bytes."""
    return {f.relative_to(path).as_posix(): f.read_bytes() for f in path.rglob("*") if f.is_file()}
