"""`python -m clip_sae plan`: what a config costs, before anything runs."""

import argparse
import json
import os
from pathlib import Path

from clip_sae.running.gpus import local_gpus

TARGETS = ("all", "extended", "adaptation")


def add_plan(verbs) -> None:
    """Add the verb to a parser's subparsers."""
    verb = verbs.add_parser("plan", help="what a config needs: images, bytes, device-hours, jobs")
    verb.add_argument(
        "--config", type=Path, default=Path("config.yaml"), help="instead of config.yaml"
    )
    verb.add_argument("--target", choices=TARGETS, default="all")
    verb.add_argument(
        "--images",
        nargs="+",
        action="extend",
        default=[],
        metavar="DATASET/SPLIT=N",
        help="images of sets that nobody has counted",
    )
    verb.add_argument("--gpus", type=int, help="devices (default: GPUs of this machine, or 1)")
    verb.add_argument(
        "--tflops",
        type=float,
        help="1e12 FLOP/s that one device sustains (default: of earlier jobs, else 50 on a GPU)",
    )
    verb.add_argument(
        "--images-per-second",
        type=float,
        help="images that one job decodes (default: of earlier jobs, else 90 on each of 2 threads)",
    )
    verb.add_argument("--json", action="store_true", help="the same as JSON")
    verb.set_defaults(run=run_plan)


def run_plan(options: argparse.Namespace) -> int:
    """Print the plan; returns 1 where the disk is too small, 3 where nobody can say, else 0."""
    # pandas and numpy take a while to import: only where they are used
    from clip_sae.analyses.planned import plan_of
    from clip_sae.planning.jobs import work_listing
    from clip_sae.planning.staleness import Staleness
    from clip_sae.scale.estimate import Estimator
    from clip_sae.scale.images import parse_images
    from clip_sae.scale.listing import WorkListing
    from clip_sae.scale.report import report

    given = parse_images(options.images)
    plan = plan_of(options.config)
    config = plan.config
    _check_images(given, config, options.config)
    listed = work_listing(plan, Staleness.of(plan))
    speeds = _speeds(options)
    listing = WorkListing.from_dict(listed)
    estimate = Estimator(plan, listing, options.target, given, speeds).estimate()
    if options.json:
        print(json.dumps(estimate.to_dict(), indent=1))
    else:
        other = "" if options.config == Path("config.yaml") else str(options.config)
        print(report(estimate, speeds.devices, config["activations"], plan.results, other))
    if estimate.disk.missing > 0:
        return 1
    return 3 if estimate.unknown else 0


def _check_images(given: dict, config: dict, path: Path) -> None:
    for dataset, _ in given:
        if dataset not in config["datasets"]:
            raise ValueError(
                f"--images names {dataset!r}, which is not a data set of {path}; there are: "
                f"{', '.join(config['datasets'])}."
            )


def _speeds(options: argparse.Namespace):
    from clip_sae.scale.quantities import Speeds
    from clip_sae.scale.rates import (
        CPU_CORE_FLOPS,
        EXTRACTION_THREADS,
        GPU_FLOPS,
        IMAGES_PER_CORE,
        Rate,
    )

    gpus, cores = local_gpus(), os.cpu_count() or 1
    devices = options.gpus if options.gpus is not None else max(1, gpus)
    if devices < 1:
        raise ValueError(f"--gpus is {devices}; it must be 1 or more.")
    given = set()
    if options.gpus or gpus:
        flops = Rate(GPU_FLOPS, "taken for a data-centre GPU; --tflops says another")
    else:
        flops = Rate(cores * CPU_CORE_FLOPS, f"taken for {cores} CPU cores; --tflops says another")
    threads = min(cores, EXTRACTION_THREADS)
    images = Rate(
        threads * IMAGES_PER_CORE,
        f"{IMAGES_PER_CORE} on each of a job's {threads} threads; --images-per-second says another",
    )
    for name in ("tflops", "images_per_second"):
        value = getattr(options, name)
        if value is not None and not 0 < value < float("inf"):
            raise ValueError(f"--{name.replace('_', '-')} is {value}; it must be more than 0.")
    if options.tflops:
        flops = Rate(options.tflops * 1e12, "given")
        given.add("flops")
    if options.images_per_second:
        images = Rate(options.images_per_second, "given")
        given.add("images")
    return Speeds(flops, images, devices, frozenset(given))
