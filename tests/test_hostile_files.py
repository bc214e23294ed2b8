"""Code in a file of weights or results never runs; an error gives the reason.

Each file here runs its payload if it is trusted; `test_the_files_are_hostile` shows it.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import hostile
import numpy as np
import pytest
import torch
from tiny_clip import tiny_source, write_config

from clip_sae.adaptation.prompts import load_prompts
from clip_sae.adaptation.training import _resume
from clip_sae.analyses.shared.class_counts import read_class_counts
from clip_sae.analyses.shared.named_records import read_records
from clip_sae.analyses.shared.responses import Responses
from clip_sae.analyses.suppression.answer_bits import read_bits
from clip_sae.analyses.typographic.defence_prefix import load_prefix
from clip_sae.clip import weights as clip_weights
from clip_sae.clip.model import load_clip
from clip_sae.clip.vocabulary import EmbeddedVocabulary
from clip_sae.clip.weights import build_module
from clip_sae.npz import ArrayFileError, read_arrays
from clip_sae.planning.architecture import ModelError, ModelSource, architecture
from clip_sae.planning.recipes import SaeRecipe
from clip_sae.sae import Sae, SaeFileError
from clip_sae.sae.exchange import FORMATS, convert
from clip_sae.training.checkpoint import TrainTarget, load_checkpoint

WRITERS = (
    hostile.write_checkpoint,
    hostile.write_stumbling_checkpoint,
    hostile.write_legacy_checkpoint,
)
writers = pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)


@pytest.fixture
def mark(tmp_path) -> Path:
    """The file that hostile code would create; its existence fails the test."""
    path = tmp_path / "mark"
    yield path
    assert not path.exists(), "code from the file was run"


@pytest.fixture(params=[False, True], ids=["plain", "forced"])
def guard_off(request, monkeypatch):
    """Run with and without the variable that turns torch's guard off by default."""
    if request.param:
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")


@writers
def test_the_files_are_hostile(tmp_path, write):
    path = write(tmp_path / "weights.pt", tmp_path / "ran")
    torch.load(path, weights_only=False)
    assert (tmp_path / "ran").exists()


def test_the_arrays_are_hostile(tmp_path):
    path = hostile.write_npz(tmp_path / "a.npz", tmp_path / "ran")
    np.load(path, allow_pickle=True)["words"]
    assert (tmp_path / "ran").exists()


# --- CLIP weights: the model, the second encoder of quality, the adaptation method `checkpoint` ---


@writers
@pytest.mark.parametrize("suffix", [".pt", ".bin", ".pth"])
def test_a_local_folder_with_a_hostile_checkpoint(tmp_path, mark, guard_off, write, suffix):
    write(write_config(tmp_path / "clip") / f"weights{suffix}", mark)
    with pytest.raises(ModelError, match=f"weights{suffix} .*\\.safetensors and use that file"):
        load_clip(ModelSource(f"local-dir:{tmp_path / 'clip'}"))


@writers
def test_a_hostile_checkpoint_for_a_named_architecture(
    tmp_path, mark, guard_off, write, monkeypatch
):
    """As `pretrained` of the model, of quality's encoder and of an adaptation of kind checkpoint:
    all three are a ModelSource that `build_module` loads."""
    path = write(tmp_path / "weights.pt", mark)
    small(monkeypatch, tmp_path)
    with pytest.raises(ModelError, match="weights.pt .*safetensors"):
        build_module(ModelSource("ViT-B-32", str(path)))


@writers
def test_a_hub_that_serves_a_pickle_instead_of_safetensors(
    tmp_path, mark, guard_off, write, monkeypatch
):
    """open_clip takes a repository's .bin if there is no .safetensors."""
    path = write(tmp_path / "open_clip_pytorch_model.bin", mark)
    monkeypatch.setattr(clip_weights, "download_pretrained", lambda _config: str(path))
    small(monkeypatch, tmp_path)
    with pytest.raises(ModelError, match=r"pytorch_model.bin .*safetensors"):
        build_module(ModelSource("ViT-B-16", "openai"))


def small(monkeypatch, tmp_path):
    """Replace the named architecture, which would take seconds to make, by a tiny CLIP."""
    write_config(tmp_path / "tiny")
    tiny = ModelSource(f"local-dir:{tmp_path / 'tiny'}", "random:0")
    create = clip_weights._create
    monkeypatch.setattr(clip_weights, "_create", lambda _source, **options: create(tiny, **options))


def test_a_torchscript_archive_is_refused_and_the_tag_is_named(tmp_path, mark, monkeypatch):
    """OpenAI's own files are such archives; their weights come as .safetensors under the tag."""
    path = tmp_path / "ViT-B-32.pt"
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)
    small(monkeypatch, tmp_path)
    with pytest.raises(ModelError, match="is a TorchScript archive.*`pretrained: openai`"):
        build_module(ModelSource("ViT-B-32", str(path)))


def test_the_papers_weights_have_a_place_without_pickles():
    """Both tags name a hub repository, where open_clip tries .safetensors first."""
    import open_clip

    for name, tag in (("ViT-B-32", "datacomp_xl_s13b_b90k"), ("ViT-B-16", "openai")):
        place = open_clip.get_pretrained_cfg(name, tag)["hf_hub"]
        # a repository without a file name means open_clip_model.safetensors, then .bin
        assert place.count("/") == 2 and place.endswith("/")


def test_weights_of_other_kinds_are_refused(tmp_path, mark, monkeypatch):
    path = hostile.write_npz(tmp_path / "weights.npz", mark)
    monkeypatch.setattr(clip_weights, "download_pretrained", lambda _config: str(path))
    small(monkeypatch, tmp_path)
    with pytest.raises(ModelError, match="weights.npz is not one of .safetensors, "):
        build_module(ModelSource("ViT-B-16", "openai"))


def test_a_pickle_that_calls_itself_safetensors(tmp_path, mark):
    folder = write_config(tmp_path / "clip")
    hostile.write_checkpoint(folder / "weights.pt", mark).rename(folder / "model.safetensors")
    with pytest.raises(ModelError, match="model.safetensors is damaged"):
        build_module(ModelSource(f"local-dir:{folder}"))


@pytest.mark.parametrize("content", [{}, {"state_dict": {}}, {"state_dict": 3}, [1], None])
def test_plain_files_that_hold_no_clip_get_a_sentence_too(tmp_path, content):
    folder = write_config(tmp_path / "clip")
    torch.save(content, folder / "weights.pt")
    with pytest.raises(ModelError, match="weights.pt "):
        build_module(ModelSource(f"local-dir:{folder}"))


def test_a_folder_that_asks_for_code_of_a_hub_is_refused(tmp_path):
    text = {"context_length": 77, "vocab_size": 10, "width": 16, "heads": 2, "layers": 1}
    text |= {"hf_tokenizer_name": "x/y", "tokenizer_kwargs": {"trust_remote_code": True}}
    folder = write_config(tmp_path / "clip", text_cfg=text)
    with pytest.raises(ModelError, match="trust_remote_code.*would run code from a hub"):
        architecture(ModelSource(f"local-dir:{folder}", "random:0"))
    assert architecture(tiny_source(tmp_path / "other")).n_layers == 3


# --- SAEs of others -------------------------------------------------------------------------------


@writers
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("allow_pickle", [False, True])
def test_no_format_of_others_runs_anything(tmp_path, mark, guard_off, write, name, allow_pickle):
    files = {"prisma": "n_images_1.pt", "dictionary_learning": "ae.pt", "saev": "sae.pt"}
    files |= {"saelens": "sae_weights.safetensors", "sparsify": "sae.safetensors"}
    path = write(tmp_path / "theirs" / files.get(name, "sae.pt"), mark)
    if name == "saev":
        path.write_bytes(b"{}\n" + path.read_bytes())
    config = {"architecture": "standard", "d_in": 4, "k": 2, "trainer": {"dict_class": "AutoEncod"}}
    for settings in ("cfg.json", "config.json"):
        (tmp_path / "theirs" / settings).write_text(json.dumps(config))
    with pytest.raises(SaeFileError) as refused:
        convert(path, tmp_path / "ours", format=name, allow_pickle=allow_pickle)
    assert str(refused.value)
    assert not (tmp_path / "ours").exists()


def test_our_own_sae_folder_from_elsewhere(tmp_path, mark):
    folder = tmp_path / "sae"
    hostile.write_checkpoint(folder / "weights.pt", mark).rename(folder / "sae_weights.safetensors")
    (folder / "cfg.json").write_text(json.dumps({"architecture": "standard", "d_in": 2}))
    with pytest.raises(SaeFileError, match="sae_weights.safetensors is truncated or damaged"):
        Sae.load(folder)


# --- a results folder from elsewhere --------------------------------------------------------------


def test_a_training_checkpoint_from_elsewhere_is_not_continued(tmp_path, mark):
    [(variant, recipe)] = SaeRecipe.from_config(
        "s", {"architecture": "topk", "k": 2, "expansion_factor": 2}
    )
    target = TrainTarget(variant, recipe, tmp_path / "sae")
    path = hostile.write_checkpoint(tmp_path / "sae/checkpoint/state.pt", mark)
    path.rename(path.with_suffix(".safetensors"))
    assert load_checkpoint(target, "key") is None  # training starts again


@pytest.mark.parametrize("read", [load_prompts, load_prefix])
def test_prompts_and_prefixes_from_elsewhere(tmp_path, mark, read):
    path = hostile.write_checkpoint(tmp_path / "learned.safetensors", mark)
    with pytest.raises(ValueError, match="learned.safetensors is damaged, or no .safetensors"):
        read(path)


def test_the_state_of_a_prompt_training_from_elsewhere(tmp_path, mark):
    path = hostile.write_checkpoint(tmp_path / "state.safetensors", mark)
    with pytest.raises(ValueError, match="state.safetensors is damaged.*Delete it"):
        _resume(path, "about", None, None)


@dataclass
class Row:
    """A record of one array, like those of the analyses."""

    words: np.ndarray


@pytest.mark.parametrize(
    "read",
    [
        EmbeddedVocabulary.load,
        Responses.load,
        read_bits,
        read_class_counts,
        lambda path: read_records(path, Row),
    ],
    ids=lambda read: read.__qualname__,
)
def test_arrays_from_elsewhere(tmp_path, mark, read):
    path = hostile.write_npz(tmp_path / "measured.npz", mark)
    with pytest.raises(ArrayFileError, match="measured.npz cannot be read.*never read from a file"):
        read(path)


def test_a_pickle_that_calls_itself_npz(tmp_path, mark):
    import pickle

    path = tmp_path / "measured.npz"
    path.write_bytes(pickle.dumps(hostile.Payload(mark)))
    with pytest.raises(ArrayFileError, match="measured.npz cannot be read"):
        read_arrays(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"\x93NUMPY"])
def test_damaged_arrays_are_named(tmp_path, content):
    path = tmp_path / "measured.npz"
    path.write_bytes(content)
    with pytest.raises(ArrayFileError, match="measured.npz cannot be read"):
        read_arrays(path)
