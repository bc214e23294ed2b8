"""The command line: what it prints, and its exit codes."""

import numpy as np
import pytest

from clip_sae.cli import main
from clip_sae.store import StoreLayout, StoreWriter


@pytest.fixture
def store(tmp_path):
    """A store of three ranges."""
    path = tmp_path / "results/activations/m/d-train/resid_post-L00-x"
    layout = StoreLayout(10, 4, 8, chunk_images=2, chunks_per_shard=2)
    writer = StoreWriter(path, layout, spec={"layer": 0}, source_index=np.arange(10))
    for k in range(layout.n_ranges):
        start, stop = layout.range_bounds(k)
        tokens = np.random.default_rng(k).normal(size=(stop - start, 5, 8)).astype(np.float32)
        with writer.range(k) as out:
            out.put(tokens[:, 0], tokens[:, 1:])
    writer.complete()
    return path


def flip_a_byte(store):
    shard = sorted(
        p for p in (store / "acts.zarr/patch").rglob("*") if p.suffix == "" and p.is_file()
    )
    content = bytearray(shard[1].read_bytes())
    content[5] ^= 1
    shard[1].write_bytes(content)


def test_verify_of_a_whole_store(store, tmp_path, capsys):
    assert main(["verify", str(tmp_path)]) == 0
    assert str(store) in capsys.readouterr().out


def test_verify_names_damage_and_repair_forgets_just_that_range(store, capsys):
    flip_a_byte(store)
    assert main(["verify", str(store)]) == 1
    assert "--repair" in capsys.readouterr().out
    assert main(["verify", "--repair", str(store)]) == 1
    parts = sorted(path.name for path in (store / "parts").iterdir())
    assert len(parts) == 2
    assert not (store / "COMPLETE.json").exists()


def test_fast_verify_sees_sizes_only(store):
    flip_a_byte(store)
    assert main(["verify", "--fast", str(store)]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["verify", "nowhere"], "nowhere does not exist"),
        (["reindex", "imagnet"], "'imagnet' is not a data set of config.yaml; there are: general"),
        (["gc", "--config", "none.yaml"], "none.yaml"),
    ],
)
def test_mistakes_get_a_sentence(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text("datasets: {general: {kind: imagenet}}\n")
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_folder_without_stores_says_what_a_store_is(tmp_path, capsys):
    assert main(["verify", str(tmp_path)]) == 2
    assert "a store is a folder with spec.json" in capsys.readouterr().err
