"""Readers of stores, outputs of a run, and the layers that must be on disk together.

`activations.layers_at_once`: the stores of the next layers are extracted only after those of the
last ones were read and deleted. Works on paths alone: `upstream` maps each output to the inputs of
its job. Standard library only, because the Snakefile imports it.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

Upstream = Mapping[str, Collection[str]]


def closure(upstream: Upstream, targets: Iterable[str]) -> set[str]:
    """Return `targets` and everything upstream of them."""
    found: set[str] = set()
    pending = list(targets)
    while pending:
        path = pending.pop()
        if path not in found:
            found.add(path)
            pending.extend(upstream.get(path, ()))
    return found


def will_run(
    upstream: Upstream, targets: Collection[str], stale: Collection[str], missing: Collection[str]
) -> set[str]:
    """Return the outputs of a run for `targets`: stale files, and missing files that are needed.

    A missing file is needed if it is a target, or if another output of the run reads it: a deleted
    SAE behind an existing table stays deleted.
    """
    needed = closure(upstream, targets)
    found: set[str] = set()
    pending = [path for path in needed if path in stale]
    pending += [path for path in targets if path in missing]
    while pending:
        path = pending.pop()
        if path not in found:
            found.add(path)
            pending.extend(up for up in upstream.get(path, ()) if up in missing)
    return found


def masked(upstream: Upstream, targets: Iterable[str], made: Collection[str]) -> set[str]:
    """Return files of `made` that are upstream of the targets only through up-to-date files.

    A file with a path to a target through files of `made` alone is not masked.
    """
    reached: set[str] = set()
    pending = list(targets)
    up_to_date = []
    while pending:
        for path in upstream.get(pending.pop(), ()):
            if path in reached:
                continue
            reached.add(path)
            (pending if path in made else up_to_date).append(path)
    return (closure(upstream, up_to_date) & set(made)) - reached - set(targets)


def readers(
    upstream: Upstream, stores: Iterable[str], among: Iterable[str]
) -> dict[str, list[str]]:
    """Return {store: its readers in `among`, sorted}."""
    found: dict[str, list[str]] = {store: [] for store in stores}
    for path in sorted(among):
        for store in found.keys() & set(upstream.get(path, ())):
            found[store].append(path)
    return found


@dataclass(frozen=True)
class Turn:
    """Stores of one split that are on disk at the same time.

    `split`: (data set, split). `layers`: ascending. `ties`: outputs that need layers of several
    turns, which were joined for that reason; empty for a turn of the requested length.
    """

    split: tuple[str, str]
    layers: tuple[int, ...]
    ties: tuple[str, ...] = ()


def turns(
    stores: Mapping[str, tuple[tuple[str, str], int]],
    upstream: Upstream,
    among: Collection[str],
    at_once: int,
) -> list[Turn]:
    """Cut the layers of each split into turns of `at_once`, and join turns that depend on each
    other.

    A turn is extracted when all earlier turns of the same split have been read and deleted. So a
    reader of a store must not depend on a later turn of that split: neither directly (a map over
    all layers) nor through SAEs of later layers.

    Args:
        stores: {store: ((data set, split), layer)}.
        among: outputs that will be made; the deletion does not wait for other readers.
        at_once: layers of a turn, unless a reader ties more together.

    Returns:
        Turns by split, those of a split in the order of extraction.
    """
    behind = _stores_behind(upstream, stores)
    read_by = readers(upstream, stores, among)
    cut: dict[tuple[str, str], list[list[int]]] = {}
    for split in sorted({split for split, _ in stores.values()}):
        layers = sorted({layer for where, layer in stores.values() if where == split})
        cut[split] = [layers[i : i + at_once] for i in range(0, len(layers), at_once)]
    ties: dict[tuple, dict[str, None]] = {}
    while clash := _clash(cut, stores, read_by, behind):
        split, index, reader = clash
        first, second = cut[split][index - 1 : index + 1]
        why = ties.pop((split, first[0]), {}) | ties.pop((split, second[0]), {}) | {reader: None}
        ties[split, first[0]] = why
        cut[split][index - 1 : index + 1] = [first + second]
    return [
        Turn(split, tuple(layers), tuple(ties.get((split, layers[0]), ())))
        for split, parts in cut.items()
        for layers in parts
    ]


def _stores_behind(upstream: Upstream, stores: Collection[str]) -> dict[str, frozenset[str]]:
    """Return {path: stores upstream of it, itself included}, for every path of `upstream`."""
    found: dict[str, frozenset[str]] = {}
    for start in upstream:
        pending = [start]
        while pending:
            path = pending[-1]
            if path in found:
                pending.pop()
                continue
            unknown = [up for up in upstream.get(path, ()) if up not in found]
            if unknown:
                pending.extend(unknown)
                continue
            own = frozenset([path]) if path in stores else frozenset()
            found[path] = own.union(*(found[up] for up in upstream.get(path, ())))
            pending.pop()
    return found


def _clash(cut: Mapping, stores: Mapping, read_by: Mapping, behind: Mapping) -> tuple | None:
    """Return a turn that would wait for itself: (split, its index, the reader that causes it).

    An edge a -> b: the extraction of turn a waits for that of turn b, through the deletion of the
    turn before a and a reader of that turn.
    """
    of_layer = {
        (split, layer): (split, index)
        for split, parts in cut.items()
        for index, layers in enumerate(parts)
        for layer in layers
    }
    turn_of = {store: of_layer[where] for store, where in stores.items()}
    edges: dict[tuple, dict[tuple, str]] = {turn: {} for turn in turn_of.values()}
    for store, found in read_by.items():
        split, index = turn_of[store]
        if (after := (split, index + 1)) not in edges:
            continue
        edges[after].setdefault((split, index), "")
        for reader in found:
            for other in behind.get(reader, ()):
                edges[after].setdefault(turn_of[other], reader)
    for start in sorted(edges):
        seen = {start: None}
        pending = [start]
        while pending:
            turn = pending.pop()
            for other, reader in edges[turn].items():
                if other == start:
                    return _first_reader(start, turn, reader, seen, edges)
                if other not in seen:
                    seen[other] = turn
                    pending.append(other)
    return None


def _first_reader(start: tuple, turn: tuple, reader: str, seen: Mapping, edges: Mapping) -> tuple:
    """Return the turn of the cycle to join to the one before it, and the reader that causes it."""
    steps = [(turn, reader)]
    while turn != start:
        before = seen[turn]
        steps.append((before, edges[before][turn]))
        turn = before
    for turn, reader in reversed(steps):
        if reader:
            return (*turn, reader)
    raise ValueError(f"turn {start} waits for itself and no reader is the cause")
