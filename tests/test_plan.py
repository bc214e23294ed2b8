"""The plan: what does and does not change where an artefact lies."""

from pathlib import Path

import pytest
import yaml

from clip_sae.config import ConfigError, validate_config
from clip_sae.plan import Plan, StoreKey

ROOT = Path(__file__).resolve().parents[1]
SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.yaml"
KEY = StoreKey("general", "train", "resid_post", 3)


def store_with(**activations):
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["activations"] |= activations
    config = validate_config(config, SCHEMA)
    return Plan(config, workflow=ROOT / "workflow", src=ROOT / "src").store(KEY)


def test_compression_enters_a_stores_spec_only_where_it_is_chosen():
    plain = store_with()
    assert "compression" not in plain.spec
    assert store_with(compression="none").path == plain.path
    paths = {store_with(compression=name).path for name in ("lz4", "zstd", "zstd-high")}
    assert len(paths | {plain.path}) == 4
    assert store_with(compression="zstd").spec["compression"] == "zstd"


def test_an_unknown_compression_is_a_sentence():
    with pytest.raises(ConfigError, match=r"activations.compression: 'zst' .*mean 'zstd'"):
        store_with(compression="zst")
