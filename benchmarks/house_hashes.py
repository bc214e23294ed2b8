"""Hashes of results and lists of artefacts, to hold a rebuilt workflow against the one before.

    python benchmarks/house_hashes.py files results                    # prints a list
    python benchmarks/house_hashes.py artefacts [--configfile FILE]    # prints a list
    python benchmarks/house_hashes.py paper-small FOLDER               # makes and runs the project
    python benchmarks/house_hashes.py compare OLD NEW                  # two lists of one kind

`benchmarks/house/` holds the lists of commit e05d341. Its runs had two cores and no GPU: other
processors, thread counts or libraries can change the last digits.
"""

import argparse
import gzip
import hashlib
import subprocess
import sys
from contextlib import chdir
from pathlib import Path

from PIL import Image

from clip_sae.analyses.planned import plan_of

ROOT = Path(__file__).resolve().parents[1]
TEXTS = (".csv", ".md", ".html", ".svg")
LENGTH = 16  # hex digits of a hash
# Versions, not code digests, name what lies in these folders of the results: a path that changes
# means that users have to extract or train again.
VERSIONED = ("activations", "saes", "adaptation", "world", "datasets", "fingerprints")


def content(file: Path) -> bytes | None:
    """Return the bytes that count in a result; None for files of other kinds.

    Compressed tables count by their rows and pictures by their pixels, because a library's new
    release can pack the same content differently.
    """
    if file.name.endswith(".csv.gz"):
        return gzip.decompress(file.read_bytes())
    if file.suffix == ".png":
        with Image.open(file) as image:
            return f"{image.mode} {image.size} ".encode() + image.tobytes()
    return file.read_bytes() if file.suffix in TEXTS else None


def files(results: Path) -> list[str]:
    """Return "hash  name" of every table and figure at the top of a results folder."""
    lines = []
    for file in sorted(results.iterdir()):
        found = content(file) if file.is_file() else None
        if found is not None:
            lines.append(f"{hashlib.sha256(found).hexdigest()[:LENGTH]}  {file.name}")
    return lines


def artefacts(tree: Path, config: Path | None = None) -> list[str]:
    """List the paths of all artefacts of a config, from the plan of a tree."""
    path = (config or tree / "config.yaml").resolve()
    with chdir(tree):  # paths of a config are relative to the workflow's folder
        return sorted(artefact.path for artefact in plan_of(path).artefacts)


def paper_small(folder: Path) -> None:
    """Lay the project of `tests/paper_small.yaml` out in `folder` and run all its targets."""
    sys.path.insert(0, str(ROOT / "tests/workflow"))
    from test_paper_small import lay_out

    lay_out(folder)
    run = [sys.executable, "-m", "snakemake", "--cores", "2", "all", "extended", "adaptation"]
    subprocess.run(run, cwd=folder, check=True)


def compare(old: list[str], new: list[str]) -> bool:
    """Print the differences of two lists of one kind; return True if they agree."""
    if all("  " in line for line in old):
        return compare_files(old, new)
    was, now = versioned(old), versioned(new)
    print(f"versioned artefacts: {len(was & now)} equal")
    print_group("gone", was - now)
    print_group("new", now - was)
    others = len(set(old) - was), len(set(new) - now)
    print(f"other artefacts, whose paths carry code digests: {others[0]} before, {others[1]} now")
    return was == now


def compare_files(old: list[str], new: list[str]) -> bool:
    """Print which files of two lists of hashes are equal, changed, gone and new."""
    was = {name: value for value, name in (line.split("  ", 1) for line in old)}
    now = {name: value for value, name in (line.split("  ", 1) for line in new)}
    both = was.keys() & now.keys()
    changed = {name for name in both if was[name] != now[name]}
    print(f"files: {len(both - changed)} equal")
    print_group("changed", changed)
    print_group("gone", was.keys() - now.keys())
    print_group("new", now.keys() - was.keys())
    return was == now


def versioned(paths: list[str]) -> set[str]:
    """Return the paths of extraction, training and their inputs."""
    return {path for path in paths if Path(path).parts[1] in VERSIONED}


def print_group(title: str, names: set[str]) -> None:
    """Print a group of names under its title and count."""
    print(f"{title}: {len(names)}")
    for name in sorted(names):
        print(f"  {name}")


def main() -> None:
    """Run one of the four commands."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("files", help="hash the tables and figures of a results folder")
    command.add_argument("results", type=Path)
    command = commands.add_parser("artefacts", help="list all artefacts of a config")
    command.add_argument("--configfile", type=Path, help="the config; without it the demo's")
    command.add_argument("--tree", type=Path, default=ROOT, help="the tree to list from")
    command = commands.add_parser("paper-small", help="make and run tests/paper_small.yaml")
    command.add_argument("folder", type=Path)
    command = commands.add_parser("compare", help="print what differs; exit 1 if anything does")
    command.add_argument("old", type=Path)
    command.add_argument("new", type=Path)
    options = parser.parse_args()
    if options.command == "files":
        print("\n".join(files(options.results)))
    elif options.command == "artefacts":
        print("\n".join(artefacts(options.tree, options.configfile)))
    elif options.command == "paper-small":
        paper_small(options.folder)
    else:
        old, new = (path.read_text().splitlines() for path in (options.old, options.new))
        sys.exit(not compare(old, new))


if __name__ == "__main__":
    main()
