"""An estimate as text: aligned tables with units, sums below, and what nobody knows said so."""

from collections.abc import Sequence

from clip_sae.planning.turns import Turn
from clip_sae.scale.disk import advice, gigabytes
from clip_sae.scale.quantities import Estimate, Stage

SMALL = 0.01  # share of the device time below which a stage has no line of its own


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table: first column to the left, others to the right, two spaces between."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    return [
        "  ".join(
            text.ljust(width) if i == 0 else text.rjust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in [header, *rows]
    ]


def report(estimate: Estimate, devices: int, block: dict, results: str, config: str = "") -> str:
    """The whole estimate, for a terminal of 100 columns.

    Args:
        block: `activations` of the config. config: its file, where it is not config.yaml.
    """
    parts = [
        _stores(estimate),
        _saes(estimate),
        _stages(estimate, devices),
        _turns(estimate.turns),
        _disk(estimate, results),
        _absent(estimate),
        _unknown(estimate, config),
        _verdict(estimate, block, results),
    ]
    return "\n\n".join("\n".join(lines) for lines in parts if lines)


def count(n: float | None) -> str:
    """A number as text: exact up to a million, else with a unit."""
    if n is None:
        return "?"
    for unit, size in (("e15", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6)):
        if n >= size:
            return f"{n / size:.3g}{'' if unit == 'e15' else ' '}{unit}"
    return f"{n:,.0f}"


def duration(hours: float | None) -> str:
    """Hours as text in the unit that reads best."""
    if hours is None:
        return "?"
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
    lines = [f"What `snakemake {estimate.target}` needs", "", *table(header, rows), ""]
    each = ", ".join(f"L{layer:02d} {gigabytes(size)}" for layer, size in sorted(layers.items()))
    return [*lines, f"Bytes per layer: {each}"]


def _saes(estimate: Estimate) -> list[str]:
    header = ("recipe", "SAEs", "to make", "layers", "latents", "tokens each", "FLOP", "weights")
    rows = [
        (
            row["recipe"],
            str(row["saes"]),
            str(row["to_make"]),
            str(len(row["layers"])),
            f"{row['d_sae']:,}",
            count(row["tokens_each"]),
            f"{row['flops']:.1e}",
            gigabytes(row["bytes"]),
        )
        for row in estimate.saes
    ]
    total = [sum(row[key] for row in estimate.saes) for key in ("saes", "to_make", "flops")]
    rows.append(
        ("in all", str(total[0]), str(total[1]), "", "", "", f"{total[2]:.1e}")
        + (gigabytes(sum(row["bytes"] for row in estimate.saes)),)
    )
    return table(header, rows)


def _stages(estimate: Estimate, devices: int) -> list[str]:
    known = sorted(
        (s for s in estimate.stages if s.to_make and s.hours is not None),
        key=lambda stage: -(stage.hours or 0.0),
    )
    others = [s for s in estimate.stages if s not in known]
    hours = sum(stage.hours or 0.0 for stage in known)
    small = [s for s in known if (s.hours or 0.0) < SMALL * hours]
    rows = [
        (s.name, str(s.jobs), str(s.to_make), duration(s.hours)) for s in known if s not in small
    ]
    if small:
        sums = *map(str, _jobs(small)), duration(sum(s.hours or 0.0 for s in small))
        rows.append((f"{len(small)} smaller stages", *sums))
    if others:
        jobs, due = _jobs(others)
        rows.append(("other stages", str(jobs), str(due), "?" if due else "-"))
    unknown = _jobs(others)[1]
    at_least = ">= " if unknown else ""
    rows.append(("in all", *map(str, _jobs(estimate.stages)), at_least + duration(hours)))
    lines = table(("stage", "jobs", "to make", "device time"), rows)
    if unknown:
        lines.append(f"Without the {unknown} jobs of stages that nothing is known of.")
    if devices > 1:
        longest = max((s.hours / s.to_make for s in known if s.hours), default=0.0)
        each = duration(max(hours / devices, longest))
        lines.append(
            f"On {devices} devices: at least {each}, as no job is shared by devices, and some wait "
            "for others"
        )
    for head, stages in (("Smaller", small), ("Other", others)):
        names = [f"{s.name} {s.jobs}" if s.jobs > 1 else s.name for s in stages]
        lines += _wrapped(f"{head} stages, with their jobs: ", names) if names else []
    return [*lines, "", *_formulas(estimate.stages)]


def _jobs(stages: Sequence[Stage]) -> tuple[int, int]:
    """Jobs of some stages in all, and those to be made."""
    return sum(stage.jobs for stage in stages), sum(stage.to_make for stage in stages)


def _formulas(stages: Sequence[Stage]) -> list[str]:
    said: dict[str, list[str]] = {}
    for stage in stages:
        if stage.to_make and stage.how:
            said.setdefault(stage.how, []).append(stage.name)
    lines = []
    for how, names in said.items():
        if "job," in how:
            continue
        lines += _wrapped(f"  {', '.join(names)}: ", how.split(" "), between="")
    if any("job," in how for how in said):
        lines.append("  the others: the mean seconds of earlier jobs of these results")
    return ["Device time of what is to be made:", *lines] if lines else []


def _wrapped(head: str, names: Sequence[str], width: int = 100, between: str = ",") -> list[str]:
    lines = [head]
    for i, name in enumerate(names):
        text = name + (between if i < len(names) - 1 else "")
        if len(lines[-1]) + len(text) + 1 > width:
            lines.append("   ")
        lines[-1] += text if lines[-1].endswith(": ") else f" {text}"
    return lines


def _turns(turns: Sequence[Turn]) -> list[str]:
    if not turns:
        return []
    lines = ["Layers that are on disk together (activations.layers_at_once), in their order:"]
    for place in dict.fromkeys(turn.split for turn in turns):
        own = [turn for turn in turns if turn.split == place]
        layers = " | ".join(" ".join(map(str, turn.layers)) for turn in own)
        lines.append(f"  {'/'.join(place)}: {layers}")
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
        f"Disk of {results}: {gigabytes(disk.free)} free; complete stores that are there already: "
        f"{gigabytes(disk.there)}.",
        *table(("still needed at peak", "bytes"), rows),
        f"Each with {gigabytes(disk.others)} of SAEs and stores of adapted models. `temporary` is "
        "an upper bound: one",
        "forward pass may fill all stores of a split before the first can go. Data sets that the "
        "workflow",
        "draws or attacks, and checkpoints (12 bytes per weight while an SAE trains, for a moment",
        "twice) come on top.",
    ]


def _absent(estimate: Estimate) -> list[str]:
    if not estimate.absent:
        return []
    names = [f"{root} ({dataset})" for dataset, root in estimate.absent.items()]
    return _wrapped("Data folders that are not there: ", names) + [
        "Where images are `published`, the number is that of the set that `kind` names; `--images` "
        "or the",
        "option `expect` says another.",
    ]


def _unknown(estimate: Estimate, config: str) -> list[str]:
    if not estimate.unknown:
        return []
    example = " ".join(f"--images {place}=N" for place in estimate.unknown[:2])
    indices = dict.fromkeys(estimate.indices[place.split("/")[0]] for place in estimate.unknown)
    of = f" --configfile {config}" if config else ""
    return _wrapped("Nobody knows the number of images of: ", estimate.unknown) + [
        f"They count as 0 here, so bytes, hours and the disk are too small. Say them ({example}),",
        "or index them first:",
        f"  snakemake {' '.join(indices)}{of}",
    ]


def _verdict(estimate: Estimate, block: dict, results: str) -> list[str]:
    disk = estimate.disk
    if disk.missing <= 0:
        return []
    return [
        f"The disk is too small: {results} has {gigabytes(disk.free)} free, and "
        f"{gigabytes(disk.peaks[disk.mode])} are needed at peak ({gigabytes(disk.missing)} more). "
        "What helps:",
        *(f"  - {line}" for line in advice(disk, block, results)),
    ]
