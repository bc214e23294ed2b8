"""SAEs of other projects match their own formulas, or are refused."""

import json

import numpy as np
import peers
import pytest
import torch
from safetensors.torch import load_file, save_file

from clip_sae.cli import main
from clip_sae.planning.specs import file_sha256
from clip_sae.sae import Sae, SaeFileError
from clip_sae.sae.exchange import FORMATS, convert


@pytest.mark.parametrize("write", peers.PEERS, ids=lambda write: write.__name__)
def test_a_converted_sae_computes_what_the_original_does(write, tmp_path):
    peer = write(tmp_path / "theirs")
    done = convert(peer.source, tmp_path / "ours", **peer.options)
    sae = Sae.load(tmp_path / "ours").double()
    x = 2 * np.random.default_rng(0).normal(size=(40, peers.D_MODEL))
    out = sae(torch.from_numpy(x))
    rows = sae.W_dec.norm(dim=1).numpy()
    fired = 0
    for token, latents, x_hat in zip(x, out.latents.numpy(), out.x_hat.numpy(), strict=True):
        strengths, expected = peer.formula(token)
        np.testing.assert_allclose(x_hat, expected, atol=1e-5)
        np.testing.assert_allclose(latents * rows, strengths, atol=1e-5)
        fired += (strengths > 0).sum()
    assert 0 < fired < 40 * peers.D_SAE  # otherwise the comparison would say little
    assert sae.threshold is None or (sae.threshold >= 0).all()
    assert write.__name__.split("_")[0] == done.format.split("_")[0]


def test_rows_have_unit_norm_and_kept_ones_are_reported(tmp_path):
    for write in peers.PEERS:
        peer = write(tmp_path / write.__name__ / "theirs")
        done = convert(peer.source, tmp_path / write.__name__ / "ours", **peer.options)
        kept = any("keep their norms" in note for note in done.notes)
        unit = torch.allclose(done.sae.W_dec.norm(dim=1), torch.ones(peers.D_SAE), atol=1e-5)
        assert unit != kept and kept == ("keep_norms" in peer.options)


def test_the_folder_says_where_it_came_from(tmp_path):
    peer = peers.prisma_gated(tmp_path / "theirs")
    convert(peer.source, tmp_path / "ours", **peer.options)
    config = json.loads((tmp_path / "ours/cfg.json").read_text())
    assert config["architecture"] == "jumprelu"
    assert config["metadata"]["training_architecture"] == "gated"
    ours = config["metadata"]["clip_sae"]
    assert ours["converted_from"] == "prisma"
    assert ours["source_files"] == {peer.source.name: file_sha256(peer.source)}
    assert ours["source_facts"]["hook_point_layer"] == 11
    assert any("gate was folded" in note for note in ours["notes"])


def test_a_pickle_needs_the_flag(tmp_path):
    peer = peers.prisma_vanilla(tmp_path / "theirs")
    with pytest.raises(SaeFileError, match="VisionModelSAERunnerConfig.*add --allow-pickle"):
        convert(peer.source, tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


class Malicious:
    """Pickles as a call that leaves a mark."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return exec, (f"open({str(self.mark)!r}, 'w').close()",)


def test_nothing_in_a_pickle_runs_even_with_the_flag(tmp_path):
    mark, path = tmp_path / "ran", tmp_path / "n_images_1.pt"
    torch.save({"cfg": Malicious(mark), "state_dict": {}}, path)
    with pytest.raises(SaeFileError):
        convert(path, tmp_path / "ours", allow_pickle=True)
    assert not mark.exists()
    torch.load(path, weights_only=False)
    assert mark.exists()  # the file does what it is meant to do where it is trusted


def edit(path, **changes):
    settings = json.loads(path.read_text()) | changes
    settings = {key: value for key, value in settings.items() if value is not None}
    path.write_text(json.dumps(settings))


@pytest.mark.parametrize(
    ("write", "file", "changes", "message"),
    [
        (peers.saelens_jumprelu, "cfg.json", {"architecture": "batchtopk"}, "is 'batchtopk'"),
        (peers.saelens_jumprelu, "cfg.json", {"architecture": None}, "'architecture' is missing"),
        (peers.saelens_root_norm, "cfg.json", {"k": None}, "'k' is missing; found"),
        (peers.saelens_standard, "cfg.json", {"reshape_activations": "hook_z"}, "reshape_activ"),
        (
            peers.saelens_standard,
            "cfg.json",
            {"normalize_activations": "covariance_whitening"},
            "'covariance_whitening'; read are none",
        ),
        (peers.sparsify, "cfg.json", {"transcode": True}, "is a transcoder"),
        (peers.sparsify, "cfg.json", {"activation": "groupmax"}, "'groupmax'; read is topk"),
        (peers.sparsify, "cfg.json", {"k": None}, "setting 'k' is missing"),
        (peers.prisma_weights, "config.json", {"is_transcoder": True}, "is a transcoder"),
        (peers.prisma_weights, "config.json", {"activation_fn_str": "tanh-relu"}, "'tanh-relu'"),
        (peers.prisma_weights, "config.json", {"architecture": "jumprelu"}, "read are standard"),
        (peers.prisma_weights, "config.json", {"normalize_activations": None}, "--input-norm"),
        (peers.dictionary_topk, "config.json", {"trainer": {"dict_class": "CrossCoder"}}, "Cross"),
        (peers.dictionary_topk, "config.json", {"trainer": {}}, "'dict_class' is missing; found"),
        (peers.dictionary_topk, "config.json", {"trainer": "TopK"}, "found 'TopK' where settings"),
        (peers.saelens_scaled, "activation_scaler.json", {"scaling_factor": None}, "--input-scale"),
    ],
)
def test_settings_that_cannot_be_honoured_are_refused(write, file, changes, message, tmp_path):
    write(tmp_path / "theirs")
    edit(tmp_path / "theirs" / file, **changes)
    with pytest.raises(SaeFileError, match=message):
        convert(tmp_path / "theirs", tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


def test_what_files_leave_out_can_be_given(tmp_path):
    peer = peers.saelens_scaled(tmp_path / "theirs")
    (tmp_path / "theirs/activation_scaler.json").unlink()
    done = convert(peer.source, tmp_path / "ours", input_scale=0.37)
    x = np.random.default_rng(1).normal(size=peers.D_MODEL)
    np.testing.assert_allclose(
        done.sae.double()(torch.from_numpy(x)).x_hat, peer.formula(x)[1], atol=1e-5
    )
    peer = peers.saev_relu(tmp_path / "other")
    done = convert(peer.source, tmp_path / "normed", input_norm="layer_norm")
    assert Sae.load(tmp_path / "normed").input_norm == "layer_norm"


def change_weights(folder, change):
    path = folder / "sae_weights.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("b_dec"), r"missing: \['b_dec'\]"),
        (lambda t: t.update(extra=torch.zeros(1)), r"not known: \['extra'\]"),
        (lambda t: t.update(b_enc=torch.zeros(3)), r"b_enc has shape \(3,\).*should be \(20,\)"),
        (lambda t: t.update(W_enc=t["W_enc"].T.contiguous()), r"W_enc has shape \(20, 6\)"),
        (lambda t: t.update(W_dec=torch.zeros(4)), r"decoder has shape \(4,\)"),
        (lambda t: t["b_enc"].fill_(float("nan")), "b_enc holds NaN"),
    ],
)
def test_wrong_tensors_are_named(change, message, tmp_path):
    folder = peers.saelens_standard(tmp_path / "theirs").source
    change_weights(folder, change)
    with pytest.raises(SaeFileError, match=message):
        convert(folder, tmp_path / "ours")


def test_free_rows_of_topk_are_kept_only_on_request(tmp_path):
    peer = peers.prisma_topk(tmp_path / "theirs")
    with pytest.raises(SaeFileError, match="norms from .* to .*Add --keep-norms"):
        convert(peer.source, tmp_path / "ours", allow_pickle=True)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"schema": 1, "cls": "BatchTopK", "cfg": {"top_k": 4}}, "k largest of a whole batch"),
        ({"schema": 1, "cls": "SparseAutoencoder", "cfg": {}}, "not known whether its encoder"),
    ],
)
def test_old_saev_files_whose_formula_is_not_in_them_are_refused(header, message, tmp_path):
    peers.saev_file(tmp_path / "theirs", header, peers.Draw(1).tensors(*peers.BASIC))
    with pytest.raises(SaeFileError, match=message):
        convert(tmp_path / "theirs", tmp_path / "ours")


@pytest.mark.parametrize("write", [peers.prisma_weights, peers.dictionary_topk, peers.saev_relu])
def test_damaged_files(write, tmp_path):
    write(tmp_path / "theirs")
    path = next((tmp_path / "theirs").glob("*.pt"))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(SaeFileError, match=path.name):
        convert(tmp_path / "theirs", tmp_path / "ours")


def test_two_checkpoints_in_a_folder_are_a_question(tmp_path):
    peers.prisma_vanilla(tmp_path / "theirs")
    (tmp_path / "theirs/n_images_9.pt").write_bytes(b"")
    with pytest.raises(SaeFileError, match="found n_images_2600058.pt, n_images_9.pt. Name"):
        convert(tmp_path / "theirs", tmp_path / "ours")


def test_unknown_formats(tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/model.bin").write_bytes(b"x")
    with pytest.raises(SaeFileError, match=r"found: model.bin\). Known are saelens") as error:
        convert(tmp_path / "theirs", tmp_path / "ours")
    assert all(name in str(error.value) for name in FORMATS)
    with pytest.raises(SaeFileError, match="unknown format 'keras'; known: saelens"):
        convert(tmp_path / "theirs", tmp_path / "ours", format="keras")
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        convert(tmp_path / "nowhere", tmp_path / "ours")
    torch.save({"W": torch.zeros(1)}, tmp_path / "a.pt")
    with pytest.raises(SaeFileError, match="fits no known format"):
        convert(tmp_path / "a.pt", tmp_path / "ours")


def test_the_format_can_be_named(tmp_path):
    peer = peers.prisma_vanilla(tmp_path / "theirs")
    path = peer.source.rename(peer.source.with_name("last.pt"))
    done = convert(path, tmp_path / "ours", format="patchsae", allow_pickle=True)
    assert done.sae.input_norm == "none"  # read as what the user said


def test_the_command(tmp_path, capsys):
    peer = peers.patchsae(tmp_path / "theirs")
    arguments = ["convert", str(peer.source), str(tmp_path / "ours")]
    assert main(arguments) == 2
    assert "--allow-pickle" in capsys.readouterr().err
    assert main([*arguments, "--allow-pickle"]) == 0
    assert "(patchsae)" in capsys.readouterr().out
    assert main([*arguments, "--allow-pickle"]) == 2
    assert "holds an SAE already" in capsys.readouterr().err


def test_our_own_folder_converts_to_itself(tmp_path):
    peer = peers.saelens_jumprelu(tmp_path / "theirs")
    convert(peer.source, tmp_path / "one")
    convert(tmp_path / "one", tmp_path / "two")
    one, two = Sae.load(tmp_path / "one"), Sae.load(tmp_path / "two")
    for name, value in one.state_dict().items():
        torch.testing.assert_close(two.state_dict()[name], value, rtol=1e-6, atol=1e-7)
