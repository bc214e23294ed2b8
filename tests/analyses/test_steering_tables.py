"""Tables on disk: equal bytes for equal tables, lines copied as they are, other columns raise."""

import gzip
import os

import pandas as pd
import pytest

from clip_sae.analyses.steering.gathered_tables import gather_tables
from clip_sae.files import csv_text, write_output

TABLE = pd.DataFrame(
    {"strength": ["150.0", "inf"], "s": [1 / 3, float("nan")], "alive": [True, False]}
)


def write_table(path, table):
    write_output(path, csv_text(table, digits=7))


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_time_and_place_of_writing_do_not_change_the_bytes(tmp_path, name):
    (tmp_path / "other").mkdir()
    write_table(tmp_path / name, TABLE)
    os.utime(tmp_path / name, (0, 0))
    write_table(tmp_path / "other" / f"b{name}", TABLE)
    content = (tmp_path / name).read_bytes()
    assert content == (tmp_path / "other" / f"b{name}").read_bytes()
    text = gzip.decompress(content) if name.endswith("gz") else content
    assert text.decode() == "strength,s,alive\n150.0,0.3333333,True\ninf,,False\n"


def test_gathered_rows_keep_the_order_of_the_parts(tmp_path):
    write_table(tmp_path / "a.csv.gz", TABLE)
    write_table(tmp_path / "b.csv", TABLE.assign(s=2.0))
    paths = [tmp_path / "b.csv", tmp_path / "a.csv.gz"]
    content, n_rows = gather_tables(paths)
    assert n_rows == 4
    write_output(tmp_path / "all.csv.gz", content)
    found = pd.read_csv(tmp_path / "all.csv.gz", dtype={"strength": str})
    assert found.strength.tolist() == ["150.0", "inf"] * 2 and found.s[0] == 2.0


def test_parts_with_other_columns_raise(tmp_path):
    write_table(tmp_path / "a.csv", TABLE)
    write_table(tmp_path / "b.csv", TABLE.assign(more=1))
    with pytest.raises(ValueError, match=r"b\.csv has other columns than .*a\.csv"):
        gather_tables([tmp_path / "a.csv", tmp_path / "b.csv"])
