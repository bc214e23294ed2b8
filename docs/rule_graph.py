"""Draw the demo's rule graph into docs/reruns.md: `make graph`.

Rules of a loop (one pass over a split, one training of a list) are one node with their number.
"""

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).with_name("reruns.md")
BEGIN, END = "<!-- rulegraph -->", "<!-- /rulegraph -->"
LOOPS = {r"extract_\w+_block\d+": "extract", r"train_\w+_L\d\d": "train a list of SAEs"}


def rule_graph(target: str = "all") -> tuple[dict[str, int], set[tuple[str, str]]]:
    """Return {node: number of rules} and the arrows between nodes, as Snakemake reads the demo."""
    command = [sys.executable, "-m", "snakemake", "--rulegraph", "mermaid-js", target]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    names = dict(re.findall(r"^\t(id\d+)\[(\w+)\]", text, flags=re.MULTILINE))
    merged = {key: _node(name) for key, name in names.items()}
    counts: dict[str, int] = {}
    for node in merged.values():
        counts[node] = counts.get(node, 0) + 1
    arrows = re.findall(r"^\t(id\d+) --> (id\d+)", text, flags=re.MULTILINE)
    return counts, {(merged[a], merged[b]) for a, b in arrows if merged[a] != merged[b]}


def _node(name: str) -> str:
    return next((node for loop, node in LOOPS.items() if re.fullmatch(loop, name)), name)


def without_shortcuts(arrows: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Leave out arrows that longer ways imply: most rules read the index, directly or not."""
    after: dict[str, set[str]] = {}
    for a, b in arrows:
        after.setdefault(a, set()).add(b)

    def reaches(start: str, end: str, direct: tuple[str, str]) -> bool:
        seen, pending = {start}, [start]
        while pending:
            node = pending.pop()
            following = {b for b in after.get(node, ()) if (node, b) != direct} - seen
            if end in following:
                return True
            seen |= following
            pending.extend(following)
        return False

    return {(a, b) for a, b in arrows if not reaches(a, b, (a, b))}


def mermaid(counts: dict[str, int], arrows: set[tuple[str, str]]) -> str:
    """Return the graph as Mermaid text, without the arrows to the target `all`."""
    ids = {node: f"r{i}" for i, node in enumerate(sorted(counts))}
    lines = ["```mermaid", "flowchart LR"]
    for node, i in ids.items():
        number = f" ({counts[node]})" if counts[node] > 1 else ""
        lines.append(f'    {i}["{node}{number}"]')
    lines += [f"    {ids[a]} --> {ids[b]}" for a, b in sorted(arrows) if b != "all"]
    return "\n".join([*lines, "```"])


def main() -> None:
    """Put the graph of today's workflow into the page."""
    counts, arrows = rule_graph()
    arrows = without_shortcuts(arrows)
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    said = f"{sum(counts.values())} rules of the target `all`, in {len(counts)} boxes. "
    said += "Arrows that longer ways imply are left out."
    graph = mermaid(counts, arrows)
    PAGE.write_text(f"{before}{BEGIN}\n{said}\n\n{graph}\n{END}{after or chr(10)}")


if __name__ == "__main__":
    main()
