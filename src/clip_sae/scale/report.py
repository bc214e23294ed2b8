"""An estimate as text: aligned tables with units, their sums, and a list of unknown quantities."""

import os
from collections.abc import Mapping, Sequence

from clip_sae.planning.turns import Turn
from clip_sae.scale.estimate import Disk, Estimate


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table: first column to the left, others to the right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    return [
        "  ".join(
            text.ljust(width) if i == 0 else text.rjust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in [header, *rows]
    ]


def report(
    estimate: Estimate, devices: int, section: Mapping, results: str, config: str = ""
) -> str:
    """Return the whole estimate, for a terminal of 100 columns.

    Args:
        section: `activations` of the config. config: its file, where it is not config.yaml.
    """
    parts = [
        _stores(estimate),
        _saes(estimate),
        _stages(estimate, devices),
        _turns(estimate.turns),
        _disk(estimate, results),
        _absent(estimate),
        _unknown(estimate, config),
        _verdict(estimate, section, results),
    ]
    return "\n\n".join("\n".join(lines) for lines in parts if lines)


def count(n: float | None) -> str:
    """Return a number as text: exact up to a million, else with a unit."""
    if n is None:
        return "?"
    for unit, size in (("e15", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6)):
        if n >= size:
            return f"{n / size:.3g}{'' if unit == 'e15' else ' '}{unit}"
    return f"{n:,.0f}"


def duration(hours: float) -> str:
    """Return hours as text in h, min or s."""
    if hours >= 100:
        return f"{hours:,.0f} h"
    if hours >= 1:
        return f"{hours:.1f} h"
    return f"{hours * 60:.1f} min" if hours * 60 >= 1 else f"{hours * 3600:.0f} s"


def _stores(estimate: Estimate) -> list[str]:
    header = ("stores of", "images", "known from", "tokens/image", "tokens", "one store")
    header += ("stores", "all", "to make", "passes")
    rows = [
        (
            f"{s.dataset}/{s.split}",
            "?" if s.images is None else f"{s.images:,}",
            s.source,
            str(s.tokens_per_image),
            count(s.tokens),
            "?" if s.store_bytes is None else gigabytes(s.store_bytes),
            str(s.stores),
            "?" if s.store_bytes is None else gigabytes(s.bytes),
            gigabytes(s.bytes_to_make) if s.bytes_to_make else "-",
            str(s.passes),
        )
        for s in estimate.splits
    ]
    layers: dict[int, int] = {}
    for split in estimate.splits:
        for layer, size in split.layer_bytes.items():
            layers[layer] = layers.get(layer, 0) + size
    total, due = (sum(getattr(s, k) for s in estimate.splits) for k in ("bytes", "bytes_to_make"))
    stores, passes = (sum(getattr(s, k) for s in estimate.splits) for k in ("stores", "passes"))
    rows.append(
        ("in all", *("",) * 5, str(stores), gigabytes(total), gigabytes(due) if due else "-")
        + (str(passes),)
    )
    lines = [f"Needs of `snakemake {estimate.target}`", "", *table(header, rows), ""]
    each = ", ".join(f"L{layer:02d} {gigabytes(size)}" for layer, size in sorted(layers.items()))
    return [*lines, f"Bytes per layer: {each}"]


def _saes(estimate: Estimate) -> list[str]:
    header = ("recipe", "SAEs", "to make", "layers", "latents", "tokens each", "weights")
    rows = [
        (
            row["recipe"],
            str(row["saes"]),
            str(row["to_make"]),
            str(len(row["layers"])),
            f"{row['d_sae']:,}",
            count(row["tokens_each"]),
            gigabytes(row["bytes"]),
        )
        for row in estimate.saes
    ]
    total = [sum(row[key] for row in estimate.saes) for key in ("saes", "to_make", "bytes")]
    rows.append(("in all", str(total[0]), str(total[1]), "", "", "", gigabytes(total[2])))
    return table(header, rows)


def _stages(estimate: Estimate, devices: int) -> list[str]:
    timed = sorted((s for s in estimate.stages if s.time is not None), key=lambda s: -s.time.hours)
    others = [s for s in estimate.stages if s.time is None]
    due = [s for s in others if s.to_make]
    rows = [
        (s.name, str(s.jobs), str(s.to_make), duration(s.time.hours))
        + (f"{duration(s.time.least)} to {duration(s.time.most)}",)
        for s in timed
    ]
    if others:
        jobs = sum(s.jobs for s in others), sum(s.to_make for s in others)
        rows.append(("other stages", *map(str, jobs), "not measured" if due else "-", ""))
    hours, least, most = (
        sum(getattr(s.time, key) for s in timed) for key in ("hours", "least", "most")
    )
    jobs = sum(s.jobs for s in estimate.stages), sum(s.to_make for s in estimate.stages)
    jobs_row = ("in all", *map(str, jobs))
    if timed:
        span = f"{duration(least)} to {duration(most)}"
        rows.append((*jobs_row, (">= " if due else "") + duration(hours), span))
    else:
        rows.append((*jobs_row, "", ""))
    lines = table(("stage", "jobs", "to make", "device time", "range"), rows)
    if devices > 1 and timed:
        each = max(hours / devices, *(s.time.hours / s.to_make for s in timed))
        lines.append(
            f"On {devices} devices: at least {duration(each)}: a job uses one device, and some wait"
        )
    for source in dict.fromkeys(s.time.source for s in timed):
        names = [s.name for s in timed if s.time.source == source]
        lines += _wrapped(f"  {source}: ", names)
    if due:
        names = [f"{s.name} {s.to_make}" if s.to_make > 1 else s.name for s in due]
        lines += _wrapped("Not measured on this device, with their jobs: ", names)
    return lines


def _wrapped(head: str, names: Sequence[str], width: int = 100) -> list[str]:
    lines = [head]
    for i, name in enumerate(names):
        text = name + ("," if i < len(names) - 1 else "")
        if len(lines[-1]) + len(text) + 1 > width:
            lines.append("   ")
        lines[-1] += text if lines[-1].endswith(": ") else f" {text}"
    return lines


def _turns(turns: Sequence[Turn]) -> list[str]:
    if not turns:
        return []
    lines = ["Layers together on disk (activations.layers_at_once), in their order:"]
    for split in dict.fromkeys(turn.split for turn in turns):
        own = [turn for turn in turns if turn.split == split]
        layers = " | ".join(" ".join(map(str, turn.layers)) for turn in own)
        lines.append(f"  {'/'.join(split)}: {layers}")
        for turn in own:
            if turn.ties:
                more = f" and {len(turn.ties) - 3} more" if len(turn.ties) > 3 else ""
                first = f"{turn.layers[0]} to {turn.layers[-1]}"
                lines.append(f"    {first} together for {', '.join(turn.ties[:3])}{more}")
    return lines


def _disk(estimate: Estimate, results: str) -> list[str]:
    disk = estimate.disk
    rows = [
        (mode + (" (this config)" if mode == disk.mode else ""), gigabytes(size))
        for mode, size in disk.peaks.items()
    ]
    return [
        f"Disk of {results}: {gigabytes(disk.free)} free, complete stores: "
        f"{gigabytes(disk.there)}.",
        *table(("still needed at peak", "bytes"), rows),
        f"Each includes {gigabytes(disk.others)} of SAEs and stores of adapted models. `temporary` "
        "is an upper bound:",
        "one forward pass can fill all stores of a split before the first is deleted. Drawn and "
        "attacked",
        "data sets and checkpoints (12 to 24 bytes per weight of an SAE in training) come on top.",
    ]


def _absent(estimate: Estimate) -> list[str]:
    if not estimate.absent:
        return []
    names = [f"{root} ({dataset})" for dataset, root in estimate.absent.items()]
    return _wrapped("Missing data folders: ", names) + [
        "Numbers marked `published` belong to the original set of this `kind`; `--images` or the "
        "option",
        "`expect` replaces them.",
    ]


def _unknown(estimate: Estimate, config: str) -> list[str]:
    if not estimate.unknown:
        return []
    example = " ".join(f"--images {split}=N" for split in estimate.unknown[:2])
    of = f" --configfile {config}" if config else ""
    return _wrapped("Unknown number of images: ", estimate.unknown) + [
        f"They count as 0 here, so bytes and hours are too small. Give them ({example}),",
        "or index the data sets first:",
        f"  snakemake {' '.join(estimate.indices.values())}{of}",
    ]


def _verdict(estimate: Estimate, section: Mapping, results: str) -> list[str]:
    disk = estimate.disk
    if disk.missing <= 0:
        return []
    return [
        f"The disk is too small: {results} has {gigabytes(disk.free)} free, and "
        f"{gigabytes(disk.peaks[disk.mode])} are needed at peak ({gigabytes(disk.missing)} more). "
        "To fix it:",
        *(f"  - {line}" for line in advice(disk, section, results)),
    ]


def advice(disk: Disk, section: Mapping, results: str) -> list[str]:
    """Return changes that make the disk large enough, smallest change first."""
    found = []
    best = min(disk.peaks, key=disk.peaks.__getitem__)
    if disk.peaks[best] < disk.peaks[disk.mode]:
        fits = "fits" if disk.peaks[best] <= disk.free else "is still too much"
        found.append(
            f"activations.{best} needs {gigabytes(disk.peaks[best])} at peak, which {fits}"
        )
    if section["dtype"] == "float32":
        found.append("activations.dtype: float16 halves every store")
    if disk.layers > 1:
        found.append(
            "fewer `layers`, in activations and in the recipes: a store belongs to one layer"
        )
    if disk.streamable:
        found.append(
            "`stream: true` in recipes trains them without a store: trainings alone read "
            f"{gigabytes(disk.streamable)} of these stores"
        )
    found.append(f"another disk: `results` ({results}) may be a path anywhere, or a link to one")
    if os.path.isdir(os.path.join(results, "activations")):
        found.append("`python -m clip_sae gc` lists artefacts that no config needs")
    return found


def gigabytes(n: float) -> str:
    """Return bytes as text with a unit, decimal: 98.4 GB."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if n >= size:
            return f"{n / size:.3g} {unit}" if n < 1000 * size else f"{n / size:,.0f} {unit}"
    return f"{n / 1e3:.3g} kB"
