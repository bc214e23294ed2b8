"""The parts of a training step, each alone, next to other ways to the same result."""

import importlib.util
import os
import time

import torch
from measuring import PRECISIONS, Bench, matmul_precision
from sae_subjects import Sizes, make_learner, speed_sizes
from time_limits import failure
from two_level_topk import two_level_topk

from clip_sae.training.checkpoint import CURVE_COLUMNS, TrainTarget, save_checkpoint
from clip_sae.training.codes import SparseCodes, entries_of_product
from clip_sae.training.learner import Learner


def run(bench: Bench) -> None:
    """Measure all parts at the smallest batch."""
    sizes = speed_sizes(bench)
    batch = min(sizes.batches)
    z = torch.randn(batch, sizes.d, device=bench.device)
    rows = torch.randn(sizes.n, sizes.d, device=bench.device)
    products_and_topk(bench, sizes, z, rows)
    cuts(bench, sizes.k * batch)
    sparse_products(bench, sizes, z, rows)
    learner = make_learner("topk", sizes.d, sizes.n, sizes.k, bench.device)
    row(bench, "Adam, norms, projection", lambda: learner._update(1e-4))
    row(bench, "zero the gradients", learner.grads.zero_)
    triton_drafts(bench, sizes, z, rows)
    checkpoint(bench, learner)


def row(bench: Bench, name: str, action, times: int = 10) -> None:
    """Measure one part in milliseconds."""
    bench.report.row("parts", name, ms=bench.milliseconds(action, times))


def products_and_topk(bench: Bench, sizes: Sizes, z: torch.Tensor, rows: torch.Tensor) -> None:
    """Measure the encoder's product in three precisions, and both ways to its k largest."""
    for label, precision, dtype in PRECISIONS:
        tokens, weights = z.to(dtype), rows.to(dtype).T
        bias = torch.zeros(sizes.n, device=bench.device, dtype=dtype)
        out = torch.empty(len(z), sizes.n, device=bench.device, dtype=dtype)

        def product(bias=bias, tokens=tokens, weights=weights, out=out) -> None:
            torch.addmm(bias, tokens, weights, out=out)

        def topk(out=out) -> tuple:
            return out.topk(sizes.k, dim=1, sorted=False)

        def two_level(out=out) -> tuple:
            return two_level_topk(out, sizes.k)

        with matmul_precision(precision):
            row(bench, f"encoder product {label}", product)
        row(bench, f"topk of {label}", topk)
        expected = topk()[0].sort(dim=1).values
        values, columns = two_level()
        exact = torch.equal(values.sort(dim=1).values, expected)
        at_columns = torch.equal(out.gather(1, columns), values)
        bench.report.check(f"two-level topk of {label} is exact", exact and at_columns)
        row(bench, f"two-level topk of {label}", two_level)


def cuts(bench: Bench, count: int) -> None:
    """Measure two ways to BatchTopK's threshold, which keeps `count` of twice as many values."""
    values = torch.rand(2 * count, device=bench.device)
    row(bench, "kthvalue of 2 k values a token", lambda: values.kthvalue(count), 5)
    row(bench, "sort of 2 k values a token", lambda: values.sort(), 5)


def sparse_products(bench: Bench, sizes: Sizes, z: torch.Tensor, rows: torch.Tensor) -> None:
    """Measure decoding and both gradients of sparse codes, and plain gathers in their place."""
    k, n_entries = sizes.k, len(z) * sizes.k
    start = torch.arange(0, n_entries + 1, k, device=bench.device)
    columns = torch.randint(sizes.n, (n_entries,), device=bench.device)
    codes = SparseCodes(start, columns, torch.rand(n_entries, device=bench.device), sizes.n)
    out = torch.zeros(sizes.n, sizes.d, device=bench.device)

    def gathered_dots() -> torch.Tensor:
        return torch.einsum("bd,bkd->bk", z, rows[columns.view(-1, k)])

    def added_products() -> None:
        products = codes.values.view(-1, k, 1) * z.unsqueeze(1)  # [token k d]
        out.index_add_(0, columns, products.view(n_entries, -1))

    row(bench, "decode: embedding_bag", lambda: codes.decode(rows))
    row(bench, "sampled_addmm", lambda: entries_of_product(codes, z, rows))
    row(bench, "gather and dot", gathered_dots, 5)
    row(bench, "entries by latent", codes.transposed)
    transposed = codes.transposed()
    row(bench, "CSR addmm_", lambda: transposed.add_(out, codes.values, z))
    row(bench, "index_add_ of products", added_products, 5)


def triton_drafts(bench: Bench, sizes: Sizes, z: torch.Tensor, rows: torch.Tensor) -> None:
    """Check the drafts of triton_sparse.py, and measure them on a GPU."""
    if importlib.util.find_spec("triton") is None:
        bench.report.note("Triton is not installed: its drafts were not checked")
        return
    runs = bench.cuda and not bench.pretend or os.environ.get("TRITON_INTERPRET")
    if not runs:
        bench.report.note("Triton needs a GPU or TRITON_INTERPRET=1: its drafts were not checked")
        return
    import triton_sparse as drafts

    try:
        errors = drafts.errors(str(bench.device))
    except Exception as error:
        bench.report.check("Triton drafts against codes.py", False, failure(error))
        return
    shown = {name: f"{error:.0e}" for name, error in errors.items()}
    bench.report.check("Triton drafts against codes.py", max(errors.values()) < 1e-5, shown)
    if not bench.cuda:
        return
    scores = torch.randn(len(z), sizes.n, device=bench.device)
    columns = scores.topk(sizes.k, dim=1).indices
    values = torch.rand(len(z), sizes.k, device=bench.device)
    g = torch.randn_like(z)
    row(bench, "Triton gather_dot", lambda: drafts.gather_dot(g, rows, columns))
    row(bench, "Triton gather_sum", lambda: drafts.gather_sum(values, rows, columns, z[0]))
    row(
        bench,
        "Triton both gradients, projected",
        lambda: drafts.both_gradients(values, values, columns, g, z, rows),
    )


def checkpoint(bench: Bench, learner: Learner) -> None:
    """Measure one checkpoint into memory: copies to the host, its checksum, the file."""
    target = TrainTarget("checkpoint", learner.recipe, bench.folder / "checkpoint")
    curve = [dict.fromkeys(CURVE_COLUMNS, 0)]
    start = time.perf_counter()
    save_checkpoint(target, learner, curve, "key")
    bench.report.row("parts", "one checkpoint", ms=1e3 * (time.perf_counter() - start))
