"""Extraction on the device writes what the CPU writes, and survives a device that is too small."""

import numpy as np
import torch
from measuring import Bench, relative_error
from time_limits import failure
from tower_subjects import cpu_tower, device_tower, extracted, extraction_job

from clip_sae.extraction.extract import extract

COMPARED = 12  # images
# Less than all outputs of a batch and its joined pieces take, more than half a batch needs.
MEMORY_LEFT = 600 * 2**20
IMAGES = 256


def run(bench: Bench) -> None:
    """Compare the stores of both devices, float16 on disk."""
    model = device_tower(bench, "float32")
    found = extracted(bench, model, "store-device")
    expected = extracted(bench, cpu_tower(bench.tiny), "store-cpu")
    error = max(relative_error(_tokens(found[key]), _tokens(expected[key])) for key in expected)
    bench.report.check("extraction on the device and on the CPU", error < 2e-3, f"{error:.1e}")


def _tokens(store) -> np.ndarray:
    return np.asarray(store.read(0, COMPARED), dtype=np.float32)


def run_out_of_memory(bench: Bench) -> None:
    """Check that extraction halves its batch when memory is short, and ends."""
    if not bench.cuda or bench.tiny:
        bench.report.note("halving after out-of-memory needs a GPU and full sizes: not checked")
        return
    model = device_tower(bench, "float32")
    keys = [("resid_post", layer) for layer in range(model.architecture.n_layers)]
    job = extraction_job(bench, model, IMAGES, "store-halved", keys)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(bench.device).total_memory
    allowed = torch.cuda.memory_reserved() + MEMORY_LEFT
    torch.cuda.set_per_process_memory_fraction(allowed / total)
    try:
        limit = extract(model, job, batch_size=IMAGES, progress=False).batch_limit
    except RuntimeError as error:
        bench.report.check("out of memory halves the batch", False, failure(error))
    else:
        bench.report.check("out of memory halves the batch", limit is not None, f"to {limit}")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
