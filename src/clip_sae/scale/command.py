"""`python -m clip_sae plan`: what a config needs, before anything runs."""

import argparse
import json
from pathlib import Path

from clip_sae.running.gpus import local_gpus

TARGETS = ("all", "extended", "adaptation")


def add_plan(verbs) -> None:
    """Add the verb to a parser's subparsers."""
    verb = verbs.add_parser("plan", help="what a config needs: images, bytes, jobs, hours")
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
        help="number of images of a split that is not indexed yet",
    )
    verb.add_argument("--gpus", type=int, help="GPUs of the run (default: those of this machine)")
    verb.add_argument("--json", action="store_true", help="print the same as JSON")
    verb.set_defaults(run=run_plan)


def run_plan(options: argparse.Namespace) -> int:
    """Print the plan; return 1 if the disk is too small, 3 if image counts are unknown, else 0."""
    # slow to import: pandas, numpy
    from clip_sae.analyses.planned import plan_of
    from clip_sae.scale.estimate import Estimator
    from clip_sae.scale.images import parse_images
    from clip_sae.scale.report import report

    if options.gpus is not None and options.gpus < 1:
        raise ValueError(f"--gpus is {options.gpus}; it must be 1 or more.")
    given = parse_images(options.images)
    plan = plan_of(options.config)
    for dataset, _ in given:
        if dataset not in plan.config["datasets"]:
            raise ValueError(
                f"--images names {dataset!r}, which is not a data set of {options.config}; there "
                f"are: {', '.join(plan.config['datasets'])}."
            )
    here = local_gpus()
    gpus = here if options.gpus is None else options.gpus
    # records of these results are of this machine, so of its kind of device
    own_records = bool(gpus) == bool(here)
    found = Estimator(plan, options.target, given, on_cpu=not gpus, own_records=own_records)
    estimate = found.estimate()
    if options.json:
        print(json.dumps(estimate.to_dict(), indent=1))
    else:
        other = "" if options.config == Path("config.yaml") else str(options.config)
        print(report(estimate, gpus or 1, plan.config["activations"], plan.results, other))
    if estimate.disk.missing > 0:
        return 1
    return 3 if estimate.unknown else 0
