"""The measurements of training.py as Markdown: medians with their spread, ratios per round."""

import argparse
import os
import platform
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from training_settings import D_MODEL, Setting

MIB = 2**20
HEADINGS = ("step, ms", "tokens/s", "its step / ours", "peak MiB", "above imports", "EV", "L0")


@dataclass(frozen=True)
class Measured:
    """Seconds per step of every round, and the report of peers/protocol.py."""

    name: str
    seconds: list[float]
    report: dict
    versions: dict[str, str]

    @property
    def is_limit(self) -> bool:
        return "explained_variance" not in self.report


def machine(options: argparse.Namespace) -> str:
    """Return the processor, and the accelerator where one is used, and the threads."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), "")
    flags = next((x.split() for x in lines if x.startswith("flags")), [])
    extensions = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    where = f"{model or platform.machine()} ({', '.join(extensions)}), {os.cpu_count()} cores"
    if options.device != "cpu":
        where = f"{torch.cuda.get_device_name()}; {where}"
    return f"{where}; {options.threads} threads"


def conditions(options: argparse.Namespace, found: list[Measured]) -> str:
    """Return one paragraph: the machine, the versions on both sides, how it was measured."""
    versions: dict[str, str] = {}
    for one in found:
        side = "peers' " if "sae-lens" in one.versions else ""
        versions |= {f"{side}{name}": number for name, number in one.versions.items()}
    return (
        f"{machine(options)}; float32 weights, d_model {D_MODEL}, batch {options.batch:,}, "
        f"learning rate {options.lr:g}. {options.rounds} rounds of {options.steps} steps each; "
        f"median (min-max) over rounds, ratios within rounds. "
        f"{', '.join(f'{name} {number}' for name, number in versions.items())}.\n"
    )


def table(
    setting: Setting, found: list[Measured], failures: list[str], options: argparse.Namespace
) -> str:
    """Return one setting's results: trainers first, then the operations that bound a step."""
    sparsity = f"k = {setting.k}"
    if setting.architecture in ("vanilla", "jumprelu", "gated"):
        sparsity = f"{setting.active:.0%} of them active at the start"
    steps = options.warm_up + options.rounds * options.steps
    lines = [
        f"### {setting.architecture}, {setting.n:,} latents, {sparsity}\n",
        f"Explained variance (EV) and L0 on a held-out batch, after {steps} steps.\n",
        f"| | {' | '.join(HEADINGS)} |",
        f"|---|{'--:|' * len(HEADINGS)}",
    ]
    ours = next((one for one in found if one.name == "ours"), None)
    for one in sorted(found, key=lambda one: one.is_limit):
        lines.append(f"| {' | '.join(cells(one, ours, options.batch))} |")
    lines += ["", *floor(found, ours)]
    lines += [f"- Could not run: {failure}" for failure in failures]
    return "\n".join(lines) + "\n"


def cells(one: Measured, ours: Measured | None, batch: int) -> list[str]:
    """Return the row of one trainer, or of a limit, which has no SAE to report on."""
    ratio = spread(per_round(one, ours, lambda a, b: a / b), 2) if ours else ""
    row = [one.name, spread([1000 * s for s in one.seconds], 1)]
    if one.is_limit:
        return [f"*{one.name}*", row[1], "", ratio, "", "", "", ""]
    report = one.report
    peak, imports = report["peak"], report["imports"]
    if report["device_peak"]:
        peak, imports = report["device_peak"], 0
    return [
        *row,
        f"{batch / statistics.median(one.seconds):,.0f}",
        ratio,
        f"{peak / MIB:,.0f}",
        f"{(peak - imports) / MIB:,.0f}",
        f"{report['explained_variance']:.3f}",
        f"{report['l0']:.1f}",
    ]


def floor(found: list[Measured], ours: Measured | None) -> list[str]:
    """Return lines that compare our step with the fastest peer and with the limit."""
    if ours is None:
        return []
    lines = []
    peers = [one for one in found if not one.is_limit and one is not ours]
    if peers:
        # In every round against the fastest peer of that round.
        best = [min(times) for times in zip(*(peer.seconds for peer in peers), strict=True)]
        fastest = Measured("", best, {}, {})
        gain = spread(per_round(fastest, ours, lambda a, b: a / b), 2)
        lines.append(f"- The fastest peer takes {gain} times as long as ours.")
    limits = {one.name: one for one in found if one.is_limit}
    memory = limits.get("bytes of Adam")
    for name, product in limits.items():
        if memory and product is not memory:
            least = [a + b for a, b in zip(product.seconds, memory.seconds, strict=True)]
            over = spread(per_round(ours, Measured("", least, {}, {}), lambda a, b: a / b), 2)
            lines.append(f"- Ours takes {over} times the {name} and the bytes of Adam together.")
    return lines


def per_round(
    one: Measured, other: Measured, ratio: Callable[[float, float], float]
) -> list[float]:
    return [ratio(a, b) for a, b in zip(one.seconds, other.seconds, strict=True)]


def spread(values: list[float], digits: int) -> str:
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"
