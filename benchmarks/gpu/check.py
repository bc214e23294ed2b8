"""Every CUDA path against the CPU, then the speed of every stage, in one run on one GPU.

    python benchmarks/gpu/check.py --seconds 460 --out .
    python benchmarks/gpu/check.py --device cpu --tiny        # does every line still run?

Prints a line per check and per measurement, and writes them as gpu.json. Exits with 1 if a check
failed, or if a section failed, came late or found no time.
"""

import argparse
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import analyses_equality
import environment
import extraction_equality
import extraction_speed
import operators
import steering_speed
import step_parts
import suppression_speed
import torch
import tower_equality
import training_equality
import training_speed
from measuring import Bench, Report
from time_limits import Section, run_sections

# Equality comes first: a speed is worth nothing if the result is wrong.
SECTIONS = (
    Section("environment", environment.run, 30),
    Section("operators", operators.run, 40),
    Section("training", training_equality.run, 80),
    Section("tower", tower_equality.run, 40),
    Section("extraction", extraction_equality.run, 30),
    Section("memory", extraction_equality.run_out_of_memory, 20),
    Section("analyses", analyses_equality.run, 60),
    Section("steps", training_speed.run, 150),
    Section("parts", step_parts.run, 40),
    Section("extraction-speed", extraction_speed.run, 90),
    Section("steering-speed", steering_speed.run, 50),
    Section("suppression-speed", suppression_speed.run, 40),
)
MEMORY = Path("/dev/shm")  # scratch files go here, so that no disk is measured


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen sections; return the exit code."""
    options = parse(arguments)
    chosen = [s for s in SECTIONS if not options.only or s.name in options.only]
    warnings.filterwarnings("ignore")  # the table is for reading; checks decide
    scratch = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
    report = Report()
    bench = Bench(torch.device(options.device), options.tiny, scratch, report, options.peers)
    try:
        run_sections(bench, chosen, options.seconds, options.out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    failed = report.failed()
    report.say(f"{len(report.checks)} checks, {len(failed)} not passed; {options.out / 'gpu.json'}")
    for check in failed:
        print("  -", check.name, check.value)
    return 1 if failed else 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the arguments and make the output folder."""
    names = [section.name for section in SECTIONS]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", help="cuda or cpu")
    parser.add_argument("--tiny", action="store_true", help="small sizes, which show no speed")
    parser.add_argument("--seconds", type=int, default=460, help="limit of the whole run")
    parser.add_argument("--only", nargs="+", choices=names, metavar="SECTION", help=f"of {names}")
    parser.add_argument("--peers", type=Path, help="folder with the peers' packages, unpacked")
    parser.add_argument("--out", type=Path, help="folder of gpu.json; default: $OUT, or a new one")
    options = parser.parse_args(arguments)
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error("there is no CUDA device; --device cpu --tiny runs without one.")
    options.out = options.out or Path(os.environ.get("OUT") or tempfile.mkdtemp())
    options.out.mkdir(parents=True, exist_ok=True)
    return options


if __name__ == "__main__":
    sys.exit(main())
