"""The SAE folder: SAELens' keys, the same bits back, and an error for each kind of damage."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from clip_sae.sae import Sae, SaeFileError


@pytest.fixture
def folder(tmp_path):
    sae = Sae(4, 12, "topk", k=3, input_norm="layer_norm")
    for parameter in sae.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
    sae.W_dec /= sae.W_dec.norm(dim=1, keepdim=True)
    sae.save(tmp_path / "sae", {"layer": 5})
    return tmp_path / "sae"


def edit(folder, **changes):
    """Change cfg.json, None removes a key; as a foreign folder, without our checksum."""
    config = json.loads((folder / "cfg.json").read_text())
    config["metadata"] = {}
    config.update(changes)
    config = {key: value for key, value in config.items() if value is not None}
    (folder / "cfg.json").write_text(json.dumps(config))


def test_round_trip_is_exact(folder):
    sae = Sae.load(folder)
    again = folder.parent / "again"
    sae.save(again, {"layer": 5})
    assert sae.metadata["layer"] == 5
    for name in ("sae_weights.safetensors", "cfg.json"):
        assert (folder / name).read_bytes() == (again / name).read_bytes()
    assert {p.name for p in folder.iterdir()} == {"sae_weights.safetensors", "cfg.json"}
    assert not any(p.requires_grad for p in sae.parameters())


def test_keys_are_saelens_own(folder):
    config = json.loads((folder / "cfg.json").read_text())
    assert {k: v for k, v in config.items() if k != "metadata"} == {
        "architecture": "topk",
        "d_in": 4,
        "d_sae": 12,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "layer_norm",
        "reshape_activations": "none",
        "k": 3,
        "rescale_acts_by_decoder_norm": False,
    }
    shapes = {k: tuple(v.shape) for k, v in load_file(folder / "sae_weights.safetensors").items()}
    assert shapes == {"W_enc": (4, 12), "b_enc": (12,), "W_dec": (12, 4), "b_dec": (4,)}


def test_vanilla_is_saelens_standard(tmp_path):
    Sae(4, 8, "vanilla").save(tmp_path, {})
    config = json.loads((tmp_path / "cfg.json").read_text())
    assert config["architecture"] == "standard" and "k" not in config
    assert Sae.load(tmp_path).architecture == "vanilla"


def test_jumprelu_keeps_its_threshold_and_how_it_was_trained(tmp_path):
    sae = Sae(4, 8, "jumprelu")
    sae.threshold.copy_(torch.rand(8, generator=torch.Generator().manual_seed(0)))
    sae.save(tmp_path / "a", {}, training_architecture="batchtopk")
    config = json.loads((tmp_path / "a/cfg.json").read_text())
    assert config["architecture"] == "jumprelu" and "k" not in config
    assert config["metadata"]["training_architecture"] == "batchtopk"
    again = Sae.load(tmp_path / "a")
    assert again.threshold.tolist() == sae.threshold.tolist()
    again.save(tmp_path / "b", {})
    for name in ("sae_weights.safetensors", "cfg.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_threshold_belongs_to_jumprelu_only(folder, tmp_path):
    edit(folder, architecture="jumprelu")
    with pytest.raises(SaeFileError, match="expected exactly .*'threshold'"):
        Sae.load(folder)
    Sae(4, 12, "jumprelu").save(tmp_path, {})
    edit(tmp_path, architecture="standard")
    with pytest.raises(SaeFileError, match="holds .*'threshold'"):
        Sae.load(tmp_path)


def test_a_foreign_folder_loads(folder):
    edit(folder)
    assert Sae.load(folder).metadata == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"architecture": "gated"},
            "architecture is 'gated'; this project reads standard, topk, jumprelu.*sae convert",
        ),
        ({"architecture": None}, "key 'architecture' is missing"),
        ({"k": None}, "key 'k' is missing"),
        ({"d_in": 5}, r"W_enc has shape \(4, 12\).*say \(5, 12\)"),
        ({"normalize_activations": "expected_average_only_in"}, "known: none, layer_norm"),
        ({"apply_b_dec_to_input": False}, "apply_b_dec_to_input is false"),
        (
            {"architecture": "standard", "activation_fn_str": "topk"},
            "activation of this SAELens folder .* is 'topk'.*sae convert",
        ),
        ({"hook_z_reshape": True}, "reshape_activations is set"),
    ],
)
def test_configs_that_mean_something_else_are_refused(folder, changes, message):
    edit(folder, **changes)
    with pytest.raises(SaeFileError, match=message):
        Sae.load(folder)


def test_rescaling_with_free_rows_is_refused(folder):
    tensors = load_file(folder / "sae_weights.safetensors")
    edit(folder, rescale_acts_by_decoder_norm=True)
    Sae.load(folder)  # unit rows: the option changes nothing
    tensors["W_dec"] *= 2
    save_file(tensors, folder / "sae_weights.safetensors")
    with pytest.raises(SaeFileError, match="rescale_acts_by_decoder_norm is true"):
        Sae.load(folder)


def test_missing_files(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        Sae.load(tmp_path / "nowhere")
    (folder / "sae_weights.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="sae_weights.safetensors is missing, though"):
        Sae.load(folder)
    (folder / "cfg.json").unlink()
    with pytest.raises(FileNotFoundError, match="cfg.json is written last"):
        Sae.load(folder)


def test_damaged_files(folder):
    path = folder / "sae_weights.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-5])
    with pytest.raises(SaeFileError, match="truncated or damaged"):
        Sae.load(folder)
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(SaeFileError, match="sha256 differs"):
        Sae.load(folder)
    edit(folder)
    save_file({"W_enc": torch.zeros(4, 12)}, path)
    with pytest.raises(SaeFileError, match=r"holds \['W_enc'\]; expected exactly"):
        Sae.load(folder)
    (folder / "cfg.json").write_text("{")
    with pytest.raises(SaeFileError, match="is not JSON"):
        Sae.load(folder)


def test_an_interrupted_save_leaves_no_finished_folder(folder, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        Sae(4, 12, "vanilla").save(folder, {})
    assert not (folder / "cfg.json").exists()
    assert not list(folder.glob("*.partial")) and not list(folder.glob(".*.partial"))
    assert not list(folder.glob(".*.tmp"))
