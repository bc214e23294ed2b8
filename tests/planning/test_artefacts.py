"""Changes that make an artefact stale, and changes that do not."""

from pathlib import Path

import pytest

from clip_sae.planning.artefacts import Artefact, read_fingerprints, why_stale, write_sidecar
from clip_sae.running.garbage import find_orphans


def source(name="dataset:a"):
    return Artefact("r/index-{digest}/COMPLETE.json", "index", {"kind": "x"}, source=name)


def table(tmp_path, upstream=(), **spec) -> Artefact:
    return Artefact(str(tmp_path / "t.csv"), "table", {"code": "c", **spec}, tuple(upstream))


def publish(artefact: Artefact, fingerprints=None) -> None:
    Path(artefact.path).parent.mkdir(parents=True, exist_ok=True)
    Path(artefact.path).write_text("x")
    write_sidecar(artefact.sidecar, artefact.record, fingerprints or {})


def test_missing_is_not_stale(tmp_path):
    assert why_stale(table(tmp_path), {}) is None


def test_same_spec_is_not_stale_whatever_the_times(tmp_path):
    publish(table(tmp_path, seed=1))
    assert why_stale(table(tmp_path, seed=1), {}) is None


def test_other_spec_names_what_changed(tmp_path):
    publish(table(tmp_path, seed=1, deep={"a": 1}))
    reason = why_stale(table(tmp_path, seed=1, deep={"a": 2}), {})
    assert reason == "changed: deep.a"


def test_other_upstream_is_stale(tmp_path):
    old = Artefact("r/s-{digest}/COMPLETE.json", "store", {"layer": 0})
    new = Artefact("r/s-{digest}/COMPLETE.json", "store", {"layer": 1})
    publish(table(tmp_path, [old]))
    assert why_stale(table(tmp_path, [new]), {}) == "changed: its inputs"


def test_file_without_record_is_stale(tmp_path):
    artefact = table(tmp_path)
    publish(artefact)
    artefact.sidecar.unlink()
    assert "t.csv.spec.json is missing" in why_stale(artefact, {})


@pytest.mark.parametrize("content", ["", "{", '{"spec": 1}'])
def test_cut_record_is_stale(tmp_path, content):
    artefact = table(tmp_path)
    publish(artefact)
    artefact.sidecar.write_text(content)
    assert why_stale(artefact, {}) is not None


def test_changed_content_upstream_is_stale_at_any_depth(tmp_path):
    store = Artefact("r/s-{digest}/COMPLETE.json", "store", {}, (source(),))
    artefact = table(tmp_path, [store])
    publish(artefact, {"dataset:a": "1"})
    assert why_stale(artefact, {"dataset:a": "1"}) is None
    assert why_stale(artefact, {"dataset:a": "2"}) == "the content of dataset:a has changed"
    assert why_stale(artefact, {"dataset:b": "2"}) is None  # not a recorded source
    assert why_stale(artefact, {}) is None

    # unknown now


def test_a_set_made_of_another_is_stale_with_that_other(tmp_path):
    copied = Artefact("r/copy-{digest}/COMPLETE.json", "attack", {}, (source(),))
    path = str(tmp_path / "index-{digest}" / "COMPLETE.json")
    index = Artefact(path, "index", {}, (copied,), source="dataset:b")
    write_sidecar(index.sidecar, index.record, {"dataset:a": "1", "dataset:b": "1"})
    assert why_stale(index, {"dataset:a": "1", "dataset:b": "1"}) is None
    for name in ("dataset:a", "dataset:b"):
        assert why_stale(index, {name: "2"}) == f"the content of {name} has changed"


def test_same_spec_gives_same_path_and_other_spec_another():
    def path(**spec):
        return Artefact("r/x-{digest}/COMPLETE.json", "s", spec).path

    assert path(a=1, b=2) == path(b=2, a=1)
    assert path(a=1, b=2) != path(a=2, b=1)


def test_missing_fingerprints_say_what_to_do(tmp_path):
    with pytest.raises(ValueError, match="run snakemake again"):
        read_fingerprints([tmp_path / "none.json"])


def test_what_is_made_from_two_states_of_a_data_set_is_out_of_date(tmp_path):
    paths = [tmp_path / f"{name}.json" for name in "abc"]
    for path, value in zip(paths, ("old", "new", "old"), strict=True):
        write_sidecar(path, {}, {"dataset:x": value, "model": "m"})
    for order in (paths, paths[1:], paths[:2]):
        found = read_fingerprints(order)
        assert found["dataset:x"] not in ("old", "new") and found["model"] == "m"
    assert read_fingerprints(paths[::2]) == {"dataset:x": "old", "model": "m"}


def test_orphans_are_what_no_config_needs(tmp_path):
    results = tmp_path / "results"
    needed = []
    for name, size in (("kept-1", 10), ("gone-2", 2000), ("gone-3", 30)):
        folder = results / "saes/recipe/L00" / name
        folder.mkdir(parents=True)
        (folder / "COMPLETE.json").write_text("x" * size)
        if name.startswith("kept"):
            needed.append(str(folder / "COMPLETE.json"))
    csv = results / "measurements/reconstruction/a-1.csv"
    csv.parent.mkdir(parents=True)
    csv.write_text("x")
    (results / "table3.csv").write_text("final targets are never orphans")
    orphans = find_orphans(results, needed)
    assert [(o.path.name, o.size) for o in orphans] == [
        ("gone-2", 2000),
        ("gone-3", 30),
        ("a-1.csv", 1),
    ]
    for orphan in orphans:
        orphan.remove()
    assert find_orphans(results, needed) == []
    assert (results / "saes/recipe/L00/kept-1/COMPLETE.json").exists()


def test_a_measured_folder_is_kept_or_removed_as_a_whole(tmp_path):
    results = tmp_path / "results"
    for name in ("kept-1", "gone-2"):
        folder = results / "measurements/steering" / name
        folder.mkdir(parents=True)
        (folder / "COMPLETE.json").write_text("{}")
        (folder / "units.csv").write_text("what later jobs read")
    needed = [str(results / "measurements/steering/kept-1/COMPLETE.json")]
    [orphan] = find_orphans(results, needed)
    assert orphan.path.name == "gone-2"
    orphan.remove()
    assert (results / "measurements/steering/kept-1/units.csv").exists()
    assert find_orphans(results, needed) == []
