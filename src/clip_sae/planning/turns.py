"""Who reads which store, what a run will make, and which layers must be on disk together.

`activations.layers_at_once`: the stores of the next layers are extracted only when those of the
last ones have been read and deleted. Works on paths alone: `upstream` maps what a job makes to all
that the job reads. Standard library only, because the Snakefile imports it.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

Upstream = Mapping[str, Collection[str]]


def closure(upstream: Upstream, targets: Iterable[str]) -> set[str]:
    """Return `targets` and all that they come from."""
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
    """Return what a run for `targets` makes: what is out of date, and what is missing and wanted.

    What is missing is wanted if it is a target, or if something that will be made reads it: a
    deleted SAE behind a whole table stays deleted.
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
    """Return what of `made` lies behind the targets and is reached only through up-to-date files.

    A way from a target that leads through files of `made` alone is not masked.
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
    """Return {store: what reads it}, of what is in `among`, sorted."""
    found: dict[str, list[str]] = {store: [] for store in stores}
    for path in sorted(among):
        for store in found.keys() & set(upstream.get(path, ())):
            found[store].append(path)
    return found


@dataclass(frozen=True)
class Turn:
    """Stores of one split that are on disk at the same time.

    `place`: (data set, split). `layers`: ascending. `ties`: what reads, or comes from, layers of
    several turns, so that they became one; empty where the turn is as long as was asked for.
    """

    place: tuple[str, str]
    layers: tuple[int, ...]
    ties: tuple[str, ...] = ()


def turns(
    stores: Mapping[str, tuple[tuple[str, str], int]],
    upstream: Upstream,
    among: Collection[str],
    at_once: int,
) -> list[Turn]:
    """Cut the layers of each split into turns of `at_once`, and join those that cannot be apart.

    A turn is extracted when all of the turns before it, of the same split, have been read and
    deleted. So whatever reads a store of a turn must come from no later turn of that split: neither
    directly (a map over all layers) nor through SAEs of later layers.

    Args:
        stores: {store: ((data set, split), layer)}.
        among: what is going to be made: readers outside it are not waited for.
        at_once: layers of a turn, where nothing ties more together.

    Returns:
        Turns by place, those of a place in the order in which they are extracted.
    """
    behind = _stores_behind(upstream, stores)
    read_by = readers(upstream, stores, among)
    cut: dict[tuple[str, str], list[list[int]]] = {}
    for place in sorted({place for place, _ in stores.values()}):
        layers = sorted({layer for where, layer in stores.values() if where == place})
        cut[place] = [layers[i : i + at_once] for i in range(0, len(layers), at_once)]
    ties: dict[tuple, dict[str, None]] = {}
    while clash := _clash(cut, stores, read_by, behind):
        place, index, reader = clash
        first, second = cut[place][index - 1 : index + 1]
        why = ties.pop((place, first[0]), {}) | ties.pop((place, second[0]), {}) | {reader: None}
        ties[place, first[0]] = why
        cut[place][index - 1 : index + 1] = [first + second]
    return [
        Turn(place, tuple(layers), tuple(ties.get((place, layers[0]), ())))
        for place, parts in cut.items()
        for layers in parts
    ]


def _stores_behind(upstream: Upstream, stores: Collection[str]) -> dict[str, frozenset[str]]:
    """{path: the stores that it comes from, itself included}, for every path of `upstream`."""
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
    """Find a turn that would wait for itself: (place, its index, the reader to blame).

    An edge a -> b says that the extraction of turn a waits, through the deletion of the turn before
    it and a reader of that, for the extraction of turn b.
    """
    of_layer = {
        (place, layer): (place, index)
        for place, parts in cut.items()
        for index, layers in enumerate(parts)
        for layer in layers
    }
    turn_of = {store: of_layer[where] for store, where in stores.items()}
    edges: dict[tuple, dict[tuple, str]] = {turn: {} for turn in turn_of.values()}
    for store, found in read_by.items():
        place, index = turn_of[store]
        if (after := (place, index + 1)) not in edges:
            continue
        edges[after].setdefault((place, index), "")
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
    """The circle's turn to be joined to the one before it, and the reader to blame."""
    steps = [(turn, reader)]
    while turn != start:
        before = seen[turn]
        steps.append((before, edges[before][turn]))
        turn = before
    for turn, reader in reversed(steps):
        if reader:
            return (*turn, reader)
    raise ValueError(f"turn {start} waits for itself and no reader is the cause")
