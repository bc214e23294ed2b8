"""Weights come from the requested source, and a wrong file is refused, never replaced."""

import json
import shutil

import pytest
import torch
from safetensors.torch import save_file
from tiny_clip import tiny_source, write_config

from clip_sae.clip import weights as clip_weights
from clip_sae.clip.model import load_clip, model_fingerprint
from clip_sae.clip.weights import build_module
from clip_sae.planning.architecture import ModelError, ModelSource


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    module = build_module(tiny_source(tmp_path_factory.mktemp("seed"), seed=3))
    return {name: value.clone() for name, value in module.state_dict().items()}


@pytest.fixture
def folder(tmp_path, weights):
    write_config(tmp_path / "model")
    save_file(weights, tmp_path / "model" / "open_clip_model.safetensors")
    return tmp_path / "model"


def source_of(folder):
    return ModelSource(f"local-dir:{folder}")


def same_weights(module, weights):
    return all(torch.equal(value, weights[name]) for name, value in module.state_dict().items())


def test_random_weights_follow_the_seed_and_leave_the_callers_stream(tmp_path, weights):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    again = build_module(tiny_source(tmp_path, seed=3))
    assert torch.equal(torch.rand(3), expected)
    assert same_weights(again, weights)
    assert not same_weights(build_module(tiny_source(tmp_path, seed=4)), weights)


def test_a_local_folder_gives_its_weights_frozen_in_eval_mode(folder, weights):
    module = build_module(source_of(folder))
    assert same_weights(module, weights)
    assert not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())


@pytest.mark.parametrize("suffix", [".pt", ".bin", ".safetensors"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_checkpoint_file_for_a_named_architecture(
    tmp_path, weights, monkeypatch, suffix, wrapped
):
    """Replace an architecture of open_clip's list, which would be large, by the tiny folder."""
    path = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file(weights, path)
    else:
        torch.save({"state_dict": weights} if wrapped else weights, path)
    source = ModelSource("ViT-B-32", str(path))
    write_config(tmp_path)
    tiny = ModelSource(f"local-dir:{tmp_path}", "random:0")
    create = clip_weights._create
    monkeypatch.setattr(clip_weights, "_create", lambda _source, **options: create(tiny, **options))
    assert same_weights(build_module(source), weights)


def test_a_pickle_of_more_than_weights_is_refused(folder, weights):
    (folder / "open_clip_model.safetensors").unlink()
    torch.save({"state_dict": weights, "code": ModelSource("x")}, folder / "model.pt")
    with pytest.raises(ModelError, match=r"model.pt holds more than weights.*\.safetensors"):
        build_module(source_of(folder))


def test_a_damaged_file_is_refused(folder, weights):
    path = folder / "open_clip_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelError, match="open_clip_model.safetensors is damaged or cut short"):
        build_module(source_of(folder))
    path.unlink()
    torch.save(weights, folder / "model.pt")
    (folder / "model.pt").write_bytes((folder / "model.pt").read_bytes()[:-5000])
    with pytest.raises(ModelError, match="model.pt cannot be loaded"):
        build_module(source_of(folder))


def test_weights_of_another_architecture_are_refused(folder):
    write_config(folder, vision={"layers": 2})
    with pytest.raises(ModelError, match="Unexpected key.*Check that the architecture"):
        build_module(source_of(folder))


def test_missing_weights_are_never_replaced_by_random_ones(folder, weights):
    (folder / "open_clip_model.safetensors").unlink()
    for act in (build_module, model_fingerprint):
        with pytest.raises(ModelError, match="exactly one weight file.*found: none"):
            act(source_of(folder))
    torch.save(weights, folder / "a.pt")
    torch.save(weights, folder / "b.pt")
    with pytest.raises(ModelError, match="found: a.pt, b.pt"):
        build_module(source_of(folder))


def test_a_folder_with_a_tag_and_a_missing_checkpoint_are_refused(folder, tmp_path):
    with pytest.raises(ModelError, match="has its own weights, but pretrained is 'openai'"):
        build_module(ModelSource(f"local-dir:{folder}", "openai"))
    missing = str(tmp_path / "none.safetensors")
    for act in (build_module, model_fingerprint):
        with pytest.raises(ModelError, match="there is no checkpoint .*none.safetensors"):
            act(ModelSource("ViT-B-32", missing))


def test_an_unknown_tag_lists_the_known_ones():
    for pretrained in ("opnai", None):
        with pytest.raises(
            ModelError, match="is not a tag of 'ViT-B-32'; tags: openai.*random:SEED"
        ):
            build_module(ModelSource("ViT-B-32", pretrained))


def test_weights_that_cannot_be_fetched_get_advice(monkeypatch):
    def offline(_config):
        raise OSError("no route to host")

    monkeypatch.setattr(clip_weights, "download_pretrained", offline)
    with pytest.raises(ModelError, match="could not be fetched .no route to host.*Run once with"):
        build_module(ModelSource("ViT-B-32", "openai"))


def test_the_tag_decides_on_the_activation(monkeypatch, tmp_path, weights):
    """open_clip would run "ViT-B-16" + "openai" with GELU; those weights need QuickGELU."""
    save_file(weights, tmp_path / "weights.safetensors")
    used = {}
    write_config(tmp_path)
    tiny = ModelSource(f"local-dir:{tmp_path}", "random:0")
    create = clip_weights._create

    def spy(_source, **options):
        used.update(options)
        return create(tiny, **options)

    monkeypatch.setattr(clip_weights, "_create", spy)
    monkeypatch.setattr(
        clip_weights, "download_pretrained", lambda _config: tmp_path / "weights.safetensors"
    )
    module = build_module(ModelSource("ViT-B-16", "openai"))
    assert used["force_quick_gelu"] is True
    assert "QuickGELU" in repr(module.visual)
    build_module(ModelSource("ViT-B-32", "datacomp_xl_s13b_b90k"))
    assert used["force_quick_gelu"] is False


def test_pixel_statistics_come_from_the_folder(folder):
    path = folder / "open_clip_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"preprocess_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3}}))
    model = load_clip(source_of(folder), device="cpu")
    assert model.mean == (0.5, 0.5, 0.5)
    assert model.std == (0.25, 0.25, 0.25)


def test_a_vocabulary_beside_the_weights_brings_its_tokenizer(folder):
    words = ["<pad>", "<sot>", "a", "dog", "<eot>"]
    (folder / "vocabulary.json").write_text(json.dumps(words))
    tokens = load_clip(source_of(folder), device="cpu").tokenizer(["a dog"])
    assert tokens[0, :4].tolist() == [1, 2, 3, 4]


def test_fingerprints_follow_content_and_not_place(folder, tmp_path):
    first = model_fingerprint(source_of(folder))
    assert first.startswith("sha256:")
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    assert model_fingerprint(source_of(copy)) == first
    (copy / "vocabulary.json").write_text("[]")
    assert model_fingerprint(source_of(copy)) != first
    assert model_fingerprint(ModelSource("ViT-B-32", "random:4")) == "random:4"


def test_fingerprint_of_a_tag_names_tag_revision_and_content(monkeypatch, tmp_path):
    path = tmp_path / "snapshots" / "abc123" / "open_clip_model.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights")
    monkeypatch.setattr(clip_weights, "download_pretrained", lambda _config: str(path))
    fingerprint = model_fingerprint(ModelSource("ViT-B-32", "openai"))
    assert fingerprint.startswith("openai@abc123 sha256:9a129038")
