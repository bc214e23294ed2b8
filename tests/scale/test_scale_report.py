"""Disk at peak, hours from measured jobs, and the sentences about them."""

from pathlib import Path

import pytest

from clip_sae.planning.turns import turns
from clip_sae.scale.estimate import Disk
from clip_sae.scale.report import advice, count, duration, gigabytes, table
from clip_sae.scale.seconds import hours_of, read_seconds, read_shipped, shipped_hours
from clip_sae.scale.sizes import free_bytes, peak_of_turns

ROOT = Path(__file__).resolve().parents[2]
LAYERS = {f"s{layer}": (("a", "train"), layer) for layer in range(4)}


def test_the_peak_of_turns_is_the_largest_turn_of_each_split():
    where = LAYERS | {"t": (("b", "val"), 0)}
    sizes = {"s0": 1, "s1": 2, "s2": 4, "s3": 8, "t": 100}
    assert peak_of_turns(sizes, where, turns(where, {}, (), 1)) == 108
    assert peak_of_turns(sizes, where, turns(where, {}, (), 2)) == 112
    upstream = {"map": set(LAYERS)}
    assert peak_of_turns(sizes, where, turns(where, upstream, upstream, 1)) == 115


def test_advice_names_what_would_fit_and_what_would_not():
    peaks = {"kept": 100 * 10**9, "temporary": 100 * 10**9, "layers_at_once: 1": 10 * 10**9}
    disk = Disk(peaks, 0, 0, free=50 * 10**9, mode="kept", streamable=10**9, layers=2)
    assert disk.missing == 50 * 10**9
    lines = advice(disk, {"dtype": "float32"}, "r")
    assert lines[0] == "activations.layers_at_once: 1 needs 10 GB at peak, which fits"
    assert any("float16" in line for line in lines) and any("`stream: true`" in x for x in lines)
    assert any("fewer `layers`" in line for line in lines)
    smaller = Disk(peaks, 0, 0, free=5 * 10**9, mode="kept")
    lines = advice(smaller, {"dtype": "float16"}, "r")
    assert "which is still too much" in lines[0]
    # one layer, nothing that only trainings read, no results yet: nothing of these would help
    assert not any(word in line for line in lines for word in ("layers`", "stream", "gc"))


def test_free_bytes_of_a_folder_that_does_not_exist_yet(tmp_path):
    assert free_bytes(tmp_path / "a/b/c") == pytest.approx(free_bytes(tmp_path), rel=0.1)


def test_hours_come_from_the_jobs_that_ran(tmp_path):
    (tmp_path / "a.tsv").write_text("s\th:m:s\n1.0\t0:00:01\n2.0\t0:00:02\n")
    (tmp_path / "b.tsv").write_text("s\th:m:s\n8.0\t0:00:08\n")
    (tmp_path / "killed.tsv").write_text("")
    seconds = read_seconds(tmp_path)
    assert seconds == {"a": 2.0, "b": 8.0}  # the last run of each job
    for name in ("split", "split_2-of-8"):  # `split` only gathered its parts
        (tmp_path / f"{name}.tsv").write_text("s\n3.0\n")
    assert read_seconds(tmp_path) == seconds | {"split_2-of-8": 3.0}
    found = hours_of(500, {"a": 30, "b": 20, "never": 5}, seconds, "image")
    assert found.hours == pytest.approx(100 / 3600) and found.least < found.hours < found.most
    assert found.source == "2 earlier jobs of these results, per image (x0.5 to x2)"
    assert hours_of(500, {"never": 5}, seconds, "image") is None
    assert read_seconds(tmp_path / "nowhere") == {}


def test_shipped_records_serve_processors_alone_and_say_how_far_they_are_scaled():
    path = ROOT / "workflow/resources/measured_jobs.csv"
    demo, base, large = (6, 128, 50), (12, 768, 50), (24, 1024, 257)
    for model, factor in ((demo, 2), (base, 2), (large, 8)):
        record = read_shipped(path, model)["train"]
        found = shipped_hours(record.work, record, model, on_cpu=True)
        assert found.hours == pytest.approx(record.seconds / 3600)
        assert found.most == pytest.approx(factor * found.hours)
        assert shipped_hours(record.work, record, model, on_cpu=False) is None
    assert read_shipped(path, large)["train"].model == base  # the nearest width
    counted = read_shipped(path, base)["index"]  # seconds a job say nothing about another model
    assert shipped_hours(1, counted, base, on_cpu=True) is None
    assert shipped_hours(1, counted, demo, on_cpu=True) is not None
    assert shipped_hours(1, None, demo, on_cpu=True) is None


def test_numbers_have_units():
    assert [gigabytes(n) for n in (0, 2_500, 98.4e9, 2.1e12)] == [
        "0 kB",
        "2.5 kB",
        "98.4 GB",
        "2.1 TB",
    ]
    assert [count(n) for n in (None, 999_999, 64.1e6)] == ["?", "999,999", "64.1 M"]
    assert [duration(h) for h in (0.001, 0.5, 12.8, 400)] == [
        *("4 s", "30.0 min", "12.8 h", "400 h")
    ]
    assert table(("a", "b"), [("long", "1")]) == ["a     b", "long  1"]
