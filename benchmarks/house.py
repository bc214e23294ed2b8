"""Amount of wiring in the house: lines, rules, values stated twice, undeclared reads.

    python benchmarks/house.py                 # of the tree that this file lies in
    python benchmarks/house.py --tree FOLDER   # of another tree
    python benchmarks/house.py --write         # also writes benchmarks/house.md

Wiring is the Snakefile, the rule files, the adapters and, in `src`, every file named `plan`,
`steps`, `keys`, `config`, `*_plan` or `*_config`. Science is `analyses` and `plotting` without
those. Rules and their graph are the demo's.
"""

import argparse
import subprocess
from datetime import date
from pathlib import Path

from house_counts import file_counts
from house_statements import statements
from house_workflow import TARGET, graph_nodes, rules_of

ROOT = Path(__file__).resolve().parents[1]
WRITTEN = Path("benchmarks/house.md")


def rule_counts(tree: Path) -> dict[str, str]:
    """Return the figures of the demo's rules and of their graph."""
    rules = rules_of(tree)
    jobs = [rule for rule in rules if rule["output"] and not rule["name"].startswith("list_")]
    names = {name for rule in rules for name in rule["wildcards"]}
    return {
        "rules, all that `snakemake --list` prints": f"{len(rules)}",
        "rules that make something (without targets and listings)": f"{len(jobs)}",
        "rules with a wildcard": f"{sum(bool(rule['wildcards']) for rule in rules)}",
        "wildcards, by name": f"{len(names)}",
        f"nodes of the rule graph of `{TARGET}`": f"{graph_nodes(tree)}",
    }


def statement_counts(tree: Path) -> dict[str, str]:
    """Return how often the demo's rules state a value twice or read an undeclared file."""
    counts = statements(tree)
    return {
        "values stated twice in one rule": f"{counts['twice']:,} of {counts['values']:,}",
        "undeclared reads": f"{counts['undeclared']}",
    }


def commit_of(tree: Path) -> str:
    """Return the short name of the commit that is checked out, or "no commit"."""
    command = ["git", "-C", str(tree), "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() or "no commit"


def report(tree: Path) -> str:
    """Return the table of all figures as Markdown."""
    figures = file_counts(tree) | rule_counts(tree) | statement_counts(tree)
    rows = [f"| {name} | {figure} |" for name, figure in figures.items()]
    return "\n".join(["| what | figure |", "|---|---:|", *rows]) + "\n"


def main() -> None:
    """Print the table, and write it if requested."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tree", type=Path, default=ROOT, help="the tree to count")
    parser.add_argument("--write", action="store_true", help=f"also write {WRITTEN}")
    options = parser.parse_args()
    table = report(options.tree)
    print(table, end="")
    if options.write:
        made = f"Made by `python benchmarks/house.py --write` from {commit_of(options.tree)}"
        text = f"# The house in figures\n\n{made} on {date.today()}.\n\n{table}"
        (ROOT / WRITTEN).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
