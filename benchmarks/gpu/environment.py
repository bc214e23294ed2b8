"""Versions and settings, and the limits of the device, which no kernel can exceed."""

import os
import platform

import numpy as np
import torch
from measuring import PRECISIONS, Bench, matmul_precision


def run(bench: Bench) -> None:
    """Record the environment; measure products, copies on the device, and copies to and from it."""
    bench.report.environment.update(
        {
            "torch": torch.__version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "cpus": os.cpu_count(),
            "device": torch.cuda.get_device_name() if bench.cuda else "cpu",
            "cudnn tf32": torch.backends.cudnn.allow_tf32,
            "matmul": torch.get_float32_matmul_precision(),
        }
    )
    bench.report.say(bench.report.environment)
    products(bench)
    copies(bench)


def products(bench: Bench) -> None:
    """Measure the product of two square matrices in TFLOP/s."""
    n = 256 if bench.tiny else 8192
    for label, precision, dtype in PRECISIONS:
        a, b = (torch.randn(n, n, device=bench.device).to(dtype) for _ in range(2))
        with matmul_precision(precision):
            took = bench.milliseconds(lambda a=a, b=b: a @ b, 5)
        bench.report.row("ceilings", f"{n}^3 {label}", tflops=2 * n**3 / took / 1e9)


def copies(bench: Bench) -> None:
    """Measure copies in GB/s; one on the device reads and writes every byte."""
    size = 2**20 if bench.tiny else 2**30
    source = torch.randn(size, device=bench.device)
    target = torch.empty_like(source)
    took = bench.milliseconds(lambda: target.copy_(source), 5)
    bench.report.row("ceilings", "copy on the device", GBps=2 * size * 4 / took / 1e6)
    if not bench.cuda:
        return
    size = 2**16 if bench.tiny else 2**26
    host = torch.empty(size, pin_memory=True)
    device = torch.empty(size, device=bench.device)
    for label, target, source in (
        ("pinned to device", device, host),
        ("device to pinned", host, device),
    ):
        took = bench.milliseconds(lambda t=target, s=source: t.copy_(s, non_blocking=True), 5)
        bench.report.row("ceilings", label, GBps=size * 4 / took / 1e6)
