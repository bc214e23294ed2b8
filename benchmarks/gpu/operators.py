"""The calls whose CUDA kernels no CPU test reaches, with their edge cases, against the CPU.

The sparse products stand for cuSPARSE: columns in no order, tokens without an entry, and no entry
at all, as in BatchTopK's first batches or an empty prefix of Matryoshka.
"""

from collections.abc import Callable

import torch
from measuring import Bench, convolution_tf32, relative_error
from time_limits import failure
from torch.nn import functional as F

from clip_sae.training.codes import SparseCodes, entries_of_product

TOKENS, LATENTS, WIDTH, K = 64, 512, 96, 8
# Label, and the number of latents whose entries stay: None keeps all.
EDGES = (("unsorted columns", None), ("empty rows", 40), ("no entry at all", 0))


def run(bench: Bench) -> None:
    """Compare every operator."""
    generator = torch.Generator().manual_seed(0)
    sparse_products(bench, generator)
    fused_adam(bench)
    selections(bench, generator)
    patch_embedding(bench, generator)


def sparse_products(bench: Bench, generator: torch.Generator) -> None:
    """Compare the three products of SparseCodes at each edge."""
    z = torch.randn(TOKENS, WIDTH, generator=generator)
    rows = torch.randn(LATENTS, WIDTH, generator=generator)
    columns = [torch.randperm(LATENTS, generator=generator)[:K] for _ in range(TOKENS)]
    values = torch.rand(TOKENS * K, generator=generator)
    start = torch.arange(0, TOKENS * K + 1, K)
    everything = (start, torch.cat(columns), values, z, rows)
    for label, kept in EDGES:
        for name, product in PRODUCTS.items():
            try:
                found, expected = (
                    _product_on(device, everything, kept, product)
                    for device in (bench.device, "cpu")
                )
            except Exception as error:
                bench.report.check(f"{name}, {label}", False, failure(error))
                continue
            bench.compare(f"{name}, {label}", found, expected, 1e-5)


def _product_on(device, arrays: tuple, kept: int | None, product: Callable) -> torch.Tensor:
    start, columns, values, z, rows = (array.to(device) for array in arrays)
    codes = SparseCodes(start, columns, values, LATENTS)
    if kept is not None:
        codes = codes.where(codes.columns < kept)
    return product(codes, z, rows)


def _gradient_of_rows(codes: SparseCodes, z: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Return the sum that a decoder's gradient is, added to ones [latent, d]."""
    out = torch.ones_like(rows)
    codes.transposed().add_(out, codes.values, z)
    return out


# Each maps codes [token, latent], z [token, d] and rows [latent, d] to a tensor.
PRODUCTS = {
    "sampled_addmm": entries_of_product,
    "embedding_bag": lambda codes, z, rows: codes.decode(rows),
    "CSR addmm_": _gradient_of_rows,
}


def fused_adam(bench: Bench) -> None:
    """Compare torch's fused Adam, whose `grad_scale` does our clipping."""
    found, expected = (_adam_step(device) for device in (bench.device, "cpu"))
    bench.compare("fused Adam with grad_scale", found, expected, 1e-6)


def _adam_step(device) -> torch.Tensor:
    """Return weights and both moments after one step of fixed numbers."""
    arrays = [torch.randn(7, 33, generator=torch.Generator().manual_seed(i)) for i in range(4)]
    weights, gradient, first, second = (array.to(device) for array in arrays)
    second = second.abs()
    torch._fused_adam_(
        [weights],
        [gradient],
        [first],
        [second],
        [],
        [torch.full((), 3.0, device=device)],
        lr=1e-2,
        beta1=0.9,
        beta2=0.99,
        weight_decay=0.0,
        eps=1e-8,
        amsgrad=False,
        maximize=False,
        grad_scale=torch.tensor(2.5, device=device),
    )
    return torch.cat([weights, first, second])


def selections(bench: Bench, generator: torch.Generator) -> None:
    """Compare the two ways to the largest values."""
    x = torch.randn(2**19, generator=generator)
    found, expected = (x.to(device).kthvalue(2**18).values for device in (bench.device, "cpu"))
    bench.report.check("kthvalue", float(found) == float(expected))
    rows = torch.randn(TOKENS, LATENTS, generator=generator)
    found, expected = (
        rows.to(device).topk(K, dim=1, sorted=False).values.sort(dim=1).values.cpu()
        for device in (bench.device, "cpu")
    )
    bench.report.check("topk unsorted", torch.equal(found, expected))


def patch_embedding(bench: Bench, generator: torch.Generator) -> None:
    """Compare a convolution with float64; with TF32, torch's default, only measure its error."""
    if not bench.cuda:
        return
    images = torch.randn(8, 3, 224, 224, generator=generator)
    kernel = torch.randn(768, 3, 32, 32, generator=generator)
    expected = F.conv2d(images.double(), kernel.double(), stride=32)
    images, kernel = images.to(bench.device), kernel.to(bench.device)
    with convolution_tf32(False):
        found = F.conv2d(images, kernel, stride=32)
    bench.compare("patch embedding in float32", found, expected, 1e-5)
    with convolution_tf32(True):
        error = relative_error(F.conv2d(images, kernel, stride=32), expected)
    bench.report.row("precision", "patch embedding, TF32 allowed", relative_error=error)
