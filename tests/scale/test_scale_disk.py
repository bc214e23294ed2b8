"""Disk at peak, speeds of earlier jobs, and the sentences about them."""

import pytest

from clip_sae.planning.turns import turns
from clip_sae.scale.disk import Disk, advice, free_bytes, gigabytes, peak_of_turns
from clip_sae.scale.rates import measured_rate, read_seconds
from clip_sae.scale.report import count, duration, table

PLACES = {f"s{layer}": (("a", "train"), layer) for layer in range(4)}


def test_the_peak_of_turns_is_the_largest_turn_of_each_split():
    places = PLACES | {"t": (("b", "val"), 0)}
    sizes = {"s0": 1, "s1": 2, "s2": 4, "s3": 8, "t": 100}
    assert peak_of_turns(sizes, places, turns(places, {}, (), 1)) == 108
    assert peak_of_turns(sizes, places, turns(places, {}, (), 2)) == 112
    upstream = {"map": set(PLACES)}
    assert peak_of_turns(sizes, places, turns(places, upstream, upstream, 1)) == 115


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


def test_free_bytes_of_a_folder_that_is_not_there_yet(tmp_path):
    assert free_bytes(tmp_path / "a/b/c") == pytest.approx(free_bytes(tmp_path), rel=0.1)


def test_rates_are_work_over_seconds_of_the_jobs_that_ran(tmp_path):
    (tmp_path / "a.tsv").write_text("s\th:m:s\n1.0\t0:00:01\n2.0\t0:00:02\n")
    (tmp_path / "b.tsv").write_text("s\th:m:s\n8.0\t0:00:08\n")
    (tmp_path / "killed.tsv").write_text("")
    seconds = read_seconds(tmp_path)
    assert seconds == {"a": 2.0, "b": 8.0}  # of a job's runs the last
    for name in ("split", "split_2-of-8"):  # the first of them only gathered
        (tmp_path / f"{name}.tsv").write_text("s\n3.0\n")
    assert read_seconds(tmp_path) == seconds | {"split_2-of-8": 3.0}
    rate = measured_rate({"a": 30, "b": 20, "never": 5}, seconds)
    assert rate.per_second == 5 and "2 earlier jobs" in rate.source
    assert measured_rate({"never": 5}, seconds) is None
    assert read_seconds(tmp_path / "nowhere") == {}


def test_numbers_have_units():
    assert [gigabytes(n) for n in (0, 2_500, 98.4e9, 2.1e12)] == [
        "0 kB",
        "2.5 kB",
        "98.4 GB",
        "2.1 TB",
    ]
    assert [count(n) for n in (None, 999_999, 64.1e6)] == ["?", "999,999", "64.1 M"]
    assert [duration(h) for h in (None, 0.001, 0.5, 12.8, 400)] == [
        *("?", "4 s", "30.0 min", "12.8 h", "400 h")
    ]
    assert table(("a", "b"), [("long", "1")]) == ["a     b", "long  1"]
