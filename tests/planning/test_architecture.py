"""Sizes of image towers from configuration files, and errors for unsupported towers."""

import json
import subprocess
import sys

import pytest
from tiny_clip import tiny_source, write_config

from clip_sae.planning.architecture import (
    Architecture,
    ModelError,
    ModelSource,
    architecture,
    builtin_names,
)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("ViT-B-32", Architecture(12, 768, 512, 224, 32, 49, 7)),
        ("ViT-B/16", Architecture(12, 768, 512, 224, 16, 196, 14)),
        ("ViT-L-14", Architecture(24, 1024, 768, 224, 14, 256, 16)),
    ],
)
def test_sizes_of_the_papers_models(name, sizes):
    assert architecture(ModelSource(name)) == sizes
    assert sizes.n_tokens == sizes.n_patches + 1


def test_sizes_of_a_local_folder(tmp_path):
    assert architecture(tiny_source(tmp_path)) == Architecture(3, 32, 8, 16, 8, 4, 2)


@pytest.mark.parametrize(
    ("name", "tower"),
    [
        ("RN50", "a ResNet"),
        ("coca_ViT-B-32", "a CoCa model"),
        ("ViT-B-16-SigLIP", "the timm model 'vit_base_patch16_siglip_224'"),
        ("EVA02-B-16", "the timm model"),
    ],
)
def test_other_towers_are_refused(name, tower):
    with pytest.raises(ModelError, match=f"{name}.*{tower}.*only open_clip's VisionTransformer"):
        architecture(ModelSource(name))


@pytest.mark.parametrize(
    ("vision", "message"),
    [
        ({"attentional_pool": True}, "attentional pooling"),
        ({"pool_type": "none"}, "pool_type 'none'"),
        ({"image_size": [16, 24]}, r"image_size \[16, 24\] is not square"),
    ],
)
def test_towers_without_one_pooled_token_or_a_square_grid_are_refused(tmp_path, vision, message):
    with pytest.raises(ModelError, match=message):
        architecture(tiny_source(tmp_path, vision=vision))


def test_every_architecture_of_open_clip_is_read_or_refused_with_a_sentence():
    read, refused = 0, 0
    for name in builtin_names():
        try:
            sizes = architecture(ModelSource(name))
            assert sizes.grid**2 == sizes.n_patches
            read += 1
        except ModelError as error:
            assert name in str(error)
            refused += 1
    assert read > 40
    assert refused > 40


def test_a_misspelt_name_gets_its_neighbours():
    with pytest.raises(ModelError, match="'ViT-B-33' is not an architecture.*nearest: ViT-B-32"):
        architecture(ModelSource("ViT-B-33"))


def test_missing_and_broken_configurations_are_named(tmp_path):
    with pytest.raises(ModelError, match="there is no .*nowhere.*one weight file"):
        architecture(ModelSource(f"local-dir:{tmp_path / 'nowhere'}"))
    path = write_config(tmp_path) / "open_clip_config.json"
    path.write_text("{")
    with pytest.raises(ModelError, match="is not JSON"):
        architecture(ModelSource(f"local-dir:{tmp_path}"))
    path.write_text(json.dumps({"embed_dim": 8}))
    with pytest.raises(ModelError, match="lacks vision_cfg, text_cfg"):
        architecture(ModelSource(f"local-dir:{tmp_path}"))


def test_a_hub_model_is_read_from_the_cache_or_refused_with_advice(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    source = ModelSource("hf-hub:someone/model")
    with pytest.raises(ModelError, match="hf download someone/model"):
        architecture(source)
    repository = tmp_path / "models--someone--model"
    write_config(repository / "snapshots" / "abc")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    assert architecture(source).n_layers == 3


def test_random_seeds():
    assert ModelSource("ViT-B-32", "random:7").random_seed == 7
    assert ModelSource("ViT-B-32", "openai").random_seed is None
    with pytest.raises(ModelError, match="'random:x' has no seed; write e.g. 'random:0'"):
        _ = ModelSource("ViT-B-32", "random:x").random_seed


def test_the_module_imports_no_library():
    code = (
        "import sys, clip_sae.planning.architecture as a;"
        "a.architecture(a.ModelSource('ViT-B-32'));"
        "assert not {'torch', 'numpy', 'open_clip'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": "src"})
