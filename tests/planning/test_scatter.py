"""Shares of a split job: every range once, in order, for any number of parts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_sae.planning.artefacts import Artefact
from clip_sae.planning.scatter import parts_of, share


@given(st.integers(0, 500), st.integers(1, 60))
def test_shares_cover_everything_once_and_differ_by_one_at_most(n, of):
    shares = [share(n, f"{i}-of-{of}") for i in range(1, of + 1)]
    assert [k for part in shares for k in part] == list(range(n))
    sizes = [len(part) for part in shares]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("part", ["0-of-3", "4-of-3", "begin", "1", "a-of-b"])
def test_a_part_that_does_not_exist_is_refused(part):
    with pytest.raises(ValueError, match="1-of-8"):
        share(10, part)


def test_parts_depend_on_what_the_whole_does_and_its_digest_not_on_them():
    source = Artefact("results/in/COMPLETE.json", "index", {}, source="dataset:a")
    stores = [
        Artefact(f"results/L{layer}-{{digest}}/COMPLETE.json", "extract", {"l": layer}, (source,))
        for layer in (0, 1)
    ]
    two, three = (parts_of(stores, [f"{i + 1}-of-{n}" for i in range(n)]) for n in (2, 3))
    assert len({part.path for part in two + three}) == 5
    assert all(part.upstream == (source,) for part in two)
    assert two[0].path.startswith(str(stores[0].folder))
    assert two[0].sidecar.name == "COMPLETE.json"  # it records its own inputs
