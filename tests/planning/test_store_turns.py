"""Turns of layers: a valid order of their extractions and deletions exists."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_sae.planning.turns import Turn, closure, masked, readers, turns, will_run

PLACE = ("general", "train")


def stores_of(n_layers: int, place: tuple[str, str] = PLACE) -> dict:
    return {f"{'-'.join(place)}-{layer}": (place, layer) for layer in range(n_layers)}


def test_layers_without_ties_are_cut_as_asked():
    upstream = {f"sae{layer}": {f"general-train-{layer}"} for layer in range(5)}
    found = turns(stores_of(5), upstream, upstream, 2)
    assert [turn.layers for turn in found] == [(0, 1), (2, 3), (4,)]
    assert all(turn.ties == () for turn in found)


def test_what_reads_several_layers_ties_them_and_is_named():
    upstream = {f"sae{layer}": {f"general-train-{layer}"} for layer in range(4)}
    upstream["map"] = {"general-train-1", "general-train-2"}
    found = turns(stores_of(4), upstream, upstream, 1)
    assert [turn.layers for turn in found] == [(0,), (1, 2), (3,)]
    assert [turn.ties for turn in found] == [(), ("map",), ()]
    without = turns(stores_of(4), upstream, set(upstream) - {"map"}, 1)
    assert len(without) == 4  # outputs that are not made tie no layers together


def test_saes_of_later_layers_tie_as_well():
    upstream = {f"sae{layer}": {f"general-train-{layer}"} for layer in range(3)}
    upstream["map"] = {"general-train-0", "sae2"}
    [turn] = turns(stores_of(3), upstream, upstream, 1)
    assert turn == Turn(PLACE, (0, 1, 2), ("map",))


def test_a_map_of_another_split_over_all_layers_ties_its_own_split_only():
    train, test = stores_of(3), stores_of(3, ("general", "test"))
    upstream = {f"sae{layer}": {f"general-train-{layer}"} for layer in range(3)}
    upstream["map"] = {*test, *upstream}
    found = turns(train | test, upstream, upstream, 1)
    assert [(turn.split[1], turn.layers) for turn in found] == [
        ("test", (0, 1, 2)),
        ("train", (0,)),
        ("train", (1,)),
        ("train", (2,)),
    ]


def test_only_ways_through_up_to_date_files_mask_what_a_run_makes():
    upstream = {"table": {"rows", "index"}, "rows": {"sae"}, "sae": {"store"}, "store": {"index"}}
    assert masked(upstream, ["table"], {"rows", "sae", "store"}) == set()  # all paths are plain
    assert masked(upstream, ["table"], {"store"}) == {"store"}  # behind rows and sae
    assert masked(upstream, ["table"], {"table", "rows", "store"}) == {"store"}
    assert masked(upstream, ["table"], {"index", "sae"}) == {"sae"}  # the index is read directly


def test_missing_things_run_where_something_wants_them():
    upstream = {"sae": {"store"}, "rows": {"sae", "test"}, "table": {"rows"}, "other": {"sae"}}
    assert will_run(upstream, ["table"], stale=(), missing=()) == set()
    assert will_run(upstream, ["table"], (), {"sae"}) == set()  # an existing table needs no SAE
    assert will_run(upstream, ["table"], {"rows"}, {"sae"}) == {"rows", "sae"}
    assert will_run(upstream, ["table"], {"other"}, ()) == set()  # not requested
    assert closure(upstream, ["other"]) == {"other", "sae", "store"}
    assert readers(upstream, ["store", "test"], closure(upstream, ["table"])) == {
        "store": ["sae"],
        "test": ["rows"],
    }


@st.composite
def studies(draw):
    """Draw stores of two splits, SAEs of them, and readers of both."""
    stores = stores_of(draw(st.integers(1, 5)))
    stores |= stores_of(draw(st.integers(1, 5)), ("general", "test"))
    upstream: dict[str, set[str]] = {}
    for index in range(draw(st.integers(0, 8))):
        known = [*stores, *upstream]
        upstream[f"made{index}"] = draw(st.sets(st.sampled_from(known), min_size=1, max_size=4))
    among = draw(st.sets(st.sampled_from([*upstream]))) if upstream else set()
    return stores, upstream, closure(upstream, among) - set(stores)


@settings(max_examples=200, deadline=None)
@given(studies(), st.integers(1, 3))
def test_no_turn_ever_waits_for_itself(study, at_once):
    stores, upstream, among = study
    found = turns(stores, upstream, among, at_once)
    for place in {place for place, _ in stores.values()}:
        layers = [layer for turn in found if turn.split == place for layer in turn.layers]
        assert layers == sorted(layer for where, layer in stores.values() if where == place)
    assert all(turn.ties or len(turn.layers) <= at_once for turn in found)

    turn_of = {
        store: (place, next(t.layers for t in found if t.split == place and layer in t.layers))
        for store, (place, layer) in stores.items()
    }
    # the order of jobs: run one by one, none waits for ever
    waits = {f"+{turn}": set() for turn in turn_of.values()}
    waits |= {f"-{turn}": {f"+{turn}"} for turn in turn_of.values()}
    for path in among:
        waits[path] = {p if p in among else f"+{turn_of[p]}" for p in upstream[path]}
        for store in stores.keys() & upstream[path]:
            waits[f"-{turn_of[store]}"].add(path)
    for place in {place for place, _ in stores.values()}:
        own = [(turn.split, turn.layers) for turn in found if turn.split == place]
        for before, after in zip(own, own[1:], strict=False):
            waits[f"+{after}"].add(f"-{before}")
    done: set[str] = set()
    while ready := {name for name, others in waits.items() if others <= done} - done:
        done |= ready
    assert done == set(waits)


def test_two_splits_that_wait_for_each_other_are_joined():
    train, test = stores_of(2), stores_of(2, ("general", "test"))
    upstream = {
        "a": {"general-train-0", "general-test-1"},
        "b": {"general-test-0", "general-train-1"},
    }
    found = turns(train | test, upstream, upstream, 1)
    assert len(found) < 4 and any(turn.ties for turn in found)


@pytest.mark.parametrize("at_once", [1, 2, 7])
def test_everything_fits_one_turn_where_it_may(at_once):
    found = turns(stores_of(2), {}, (), at_once)
    assert sum(len(turn.layers) for turn in found) == 2
