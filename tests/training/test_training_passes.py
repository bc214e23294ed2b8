"""Passes: companions, kills and restarts change no bit; finished SAEs stay untouched."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from clip_sae.architectures import architectures
from clip_sae.planning.recipe_values import keys_of
from clip_sae.planning.recipes import SaeRecipe
from clip_sae.sae import Sae
from clip_sae.training import TrainingError, TrainTarget, is_finished, passes, train_saes
from clip_sae.training.checkpoint import CURVE_COLUMNS
from clip_sae.training.progress import summary

D_MODEL = 8
COMMON = {
    "expansion_factor": 4,
    "batch_tokens": 64,
    "epochs": 2,
    "warmup_steps": 3,
    "lr": 3e-3,
    "dead_window_tokens": 150,
    "init_tokens": 200,
}
VANILLA = {"architecture": "vanilla", "l1_coefficient": [0.3, 3.0], "ghost_grads": True, **COMMON}
TOPK = {"architecture": "topk", "k": 2, **COMMON}
PRISMA = {"architecture": "topk", "k": 3, "form": "prisma_compat", **COMMON}
MIXED = {
    "architecture": list(architectures()),
    "k": 2,
    "l1_coefficient": 0.3,
    "l0_coefficient": 0.1,
    "sparsity_warmup_steps": 6,
    **COMMON,
}
ALL = (VANILLA, {**VANILLA, "decoder_norm": "free"}, TOPK, PRISMA, MIXED)


def mixed(*names: str) -> dict:
    """Return MIXED for a few of its architectures, without the keys that none of them knows."""
    known = set(keys_of(SaeRecipe)).union(*(keys_of(architectures()[name]) for name in names))
    section = {key: value for key, value in MIXED.items() if key in known}
    return {**section, "architecture": list(names)}


def targets(folder, *sections, metadata=None) -> list[TrainTarget]:
    """Return one target per variant of each section, in folders of their own."""
    return [
        TrainTarget(name, recipe, folder / f"{i}_{name}", metadata or {"store": "abc"})
        for i, section in enumerate(sections)
        for name, recipe in SaeRecipe.from_config("demo", section)
    ]


def files(target: TrainTarget) -> dict[str, bytes]:
    root = Path(target.folder)
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.fixture
def stream(array_stream, planted):
    x, _ = planted(n_tokens=400, d_model=D_MODEL)
    return lambda **options: array_stream(x, 64, **options)


@pytest.fixture
def quiet():
    return {"d_model": D_MODEL, "device": "cpu", "progress": False, "log": lambda _: None}


def test_a_pass_leaves_a_curve_and_a_sae_and_nothing_else(tmp_path, stream, quiet):
    [target] = targets(tmp_path, TOPK)
    train_saes([target], stream(), **quiet)
    assert set(files(target)) == {"cfg.json", "sae_weights.safetensors", "curve.csv"}
    rows = list(csv.DictReader((target.folder / "curve.csv").open()))
    assert tuple(rows[0]) == CURVE_COLUMNS
    assert [int(row["step"]) for row in rows] == list(range(1, 15))
    assert int(rows[-1]["tokens"]) == 2 * 400
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    sae = Sae.load(target.folder)
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.ones(32))
    facts = sae.metadata["training"]
    assert sae.metadata["store"] == "abc"
    assert facts["recipe"] == target.recipe.to_dict() and facts["final"]["step"] == 14


def test_companions_change_no_bit(tmp_path, stream, quiet):
    together = targets(tmp_path / "together", *ALL)
    train_saes(together, stream(), **quiet)
    assert {target.recipe.architecture for target in together} == set(architectures())
    for target in targets(tmp_path / "alone", *ALL):
        train_saes([target], stream(), **quiet)
    for target in together:
        alone = tmp_path / "alone" / target.folder.name
        for name in ("sae_weights.safetensors", "curve.csv", "cfg.json"):
            assert (target.folder / name).read_bytes() == (alone / name).read_bytes()


@pytest.mark.parametrize("fail_at", [1, 9, 17])
def test_interrupted_and_restarted_ends_at_the_same_bits(tmp_path, stream, quiet, fail_at):
    """Four batches serve b_dec's start, so batch 9 is step 5 and batch 17 step 13."""
    whole = targets(tmp_path / "whole", *ALL)
    train_saes(whole, stream(), **quiet)
    parts = targets(tmp_path / "parts", *ALL)
    with pytest.raises(KeyboardInterrupt):
        train_saes(parts, stream(fail_at=fail_at), checkpoint_every_steps=3, **quiet)
    assert not any(is_finished(target, D_MODEL) for target in parts)
    served = stream()
    train_saes(parts, served, checkpoint_every_steps=3, **quiet)
    assert served.served == {1: 18, 9: 11, 17: 2}[fail_at]
    for a, b in zip(whole, parts, strict=True):
        assert files(a) == files(b)


def test_targets_resumed_from_different_steps(tmp_path, stream, quiet, monkeypatch):
    whole = targets(tmp_path / "whole", TOPK, PRISMA)
    train_saes(whole, stream(), **quiet)
    parts = targets(tmp_path / "parts", TOPK, PRISMA)
    save, calls = passes.save_checkpoint, []

    def killed_between_two_files(*args):
        calls.append(args)
        if len(calls) == 4:
            raise KeyboardInterrupt
        save(*args)

    monkeypatch.setattr(passes, "save_checkpoint", killed_between_two_files)
    with pytest.raises(KeyboardInterrupt):
        train_saes(parts, stream(), checkpoint_every_steps=4, **quiet)
    said = []
    train_saes(parts, stream(), **{**quiet, "log": said.append})
    assert [line for line in said if "resuming" in line] == [
        "base: resuming at step 8 of 14",
        "base: resuming at step 4 of 14",
    ]
    for a, b in zip(whole, parts, strict=True):
        assert files(a) == files(b)


KILLED = """
import os, signal, sys
import numpy as np
sys.path[:0] = {paths!r}
import conftest
from test_training_passes import targets, TOPK
from clip_sae.training import train_saes
from pathlib import Path
class Deadly(conftest.ArrayStream):
    def epoch(self, epoch, start_batch=0):
        for batch in super().epoch(epoch, start_batch):
            if self.served == 15:
                os.kill(os.getpid(), signal.SIGKILL)
            yield batch
train_saes(targets(Path({folder!r}), TOPK), Deadly(np.load({tokens!r}), 64), d_model=8,
           device="cpu", threads=1, checkpoint_every_steps=4, progress=False)
"""


def test_kill_9_and_restart_ends_at_the_same_bits(tmp_path, stream, quiet):
    [whole], [killed] = targets(tmp_path / "whole", TOPK), targets(tmp_path / "killed", TOPK)
    train_saes([whole], stream(), **quiet)
    np.save(tmp_path / "tokens.npy", stream().x)
    code = KILLED.format(
        paths=[str(Path(__file__).parent)],
        folder=str(tmp_path / "killed"),
        tokens=str(tmp_path / "tokens.npy"),
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert set(files(killed)) == {"checkpoint/state.safetensors", "curve.csv"}
    train_saes([killed], stream(), checkpoint_every_steps=4, **quiet)
    assert files(whole) == files(killed)


def test_finished_targets_are_left_alone_and_new_ones_trained(tmp_path, stream, quiet):
    [old] = targets(tmp_path, {**TOPK, "k": [2]})
    train_saes([old], stream(), **quiet)
    stamp = (old.folder / "cfg.json").stat().st_mtime_ns
    both = targets(tmp_path, {**TOPK, "k": [2, 4]})
    said = []
    train_saes(both, stream(), **{**quiet, "log": said.append})
    assert (old.folder / "cfg.json").stat().st_mtime_ns == stamp
    assert is_finished(both[1], D_MODEL) and said[0].startswith("k-2: already trained")
    untouched = stream()
    train_saes(both, untouched, **quiet)
    assert untouched.served == 0


def test_a_new_architecture_of_a_sweep_is_trained_and_no_other(tmp_path, stream, quiet):
    few = targets(tmp_path, mixed("vanilla", "batchtopk", "gated"))
    train_saes(few, stream(), **quiet)
    before = {target.variant: files(target) for target in few}
    stamps = {target.variant: (target.folder / "cfg.json").stat().st_mtime_ns for target in few}
    more = targets(tmp_path, MIXED)
    said = []
    train_saes(more, stream(), **{**quiet, "log": said.append})
    assert sum("already trained" in line for line in said) == 3
    assert all(is_finished(target, D_MODEL) for target in more)
    for target in more:
        if target.variant in before:
            assert files(target) == before[target.variant]
            assert (target.folder / "cfg.json").stat().st_mtime_ns == stamps[target.variant]


@pytest.mark.parametrize("architecture", ["batchtopk", "matryoshka", "jumprelu", "gated"])
def test_a_checkpoint_holds_all_that_decides_the_steps_to_come(
    architecture, tmp_path, stream, quiet
):
    """Including arrays that only some SAEs have: running threshold, thresholds, gates."""
    [target] = targets(tmp_path, mixed(architecture))
    with pytest.raises(KeyboardInterrupt):
        train_saes([target], stream(fail_at=16), checkpoint_every_steps=3, **quiet)
    state = load_file(target.folder / "checkpoint" / "state.safetensors")
    own = {
        "batchtopk": {"method.running_threshold"},
        "matryoshka": {"method.running_threshold"},
        "jumprelu": {f"{group}.threshold" for group in ("weights", "first", "second")},
        "gated": {
            f"{group}.{name}"
            for group in ("weights", "first", "second")
            for name in ("b_gate", "r_mag")
        },
    }[architecture]
    common = {
        f"{group}.{name}"
        for group in ("weights", "first", "second")
        for name in ("W_enc_rows", "b_enc", "W_dec", "b_dec")
    }
    assert set(state) == common | own | {"tokens_since_fired", "counts"}
    assert all(state[name].abs().sum() > 0 for name in own)


def test_other_metadata_or_damaged_weights_train_again(tmp_path, stream, quiet):
    [target] = targets(tmp_path, TOPK)
    train_saes([target], stream(), **quiet)
    good = files(target)
    path = target.folder / "sae_weights.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    assert not is_finished(target, D_MODEL)
    train_saes([target], stream(), **quiet)
    assert files(target) == good
    [other] = targets(tmp_path, TOPK, metadata={"store": "def"})
    assert not is_finished(other, D_MODEL)
    train_saes([other], stream(), **quiet)
    assert json.loads(files(other)["cfg.json"])["metadata"]["clip_sae"]["store"] == "def"
    assert files(other)["sae_weights.safetensors"] == good["sae_weights.safetensors"]


def test_a_checkpoint_of_another_training_or_a_damaged_one_is_not_resumed(tmp_path, stream, quiet):
    [target] = targets(tmp_path, TOPK)
    with pytest.raises(KeyboardInterrupt):
        train_saes([target], stream(fail_at=14), checkpoint_every_steps=3, **quiet)
    [other] = targets(tmp_path, TOPK, metadata={"store": "def"})
    said = []
    with pytest.raises(KeyboardInterrupt):
        train_saes([other], stream(fail_at=5), **{**quiet, "log": said.append})
    state = target.folder / "checkpoint" / "state.safetensors"
    state.write_bytes(state.read_bytes()[:100])
    train_saes([target], stream(), **{**quiet, "log": said.append})
    assert not any("resuming" in line for line in said)


@pytest.mark.parametrize("at", [60, 300, 2000, -1])
def test_a_checkpoint_with_a_flipped_bit_is_not_resumed(tmp_path, stream, quiet, at):
    """In the header's text, in the curve, or in a tensor."""
    [target] = targets(tmp_path, TOPK)
    with pytest.raises(KeyboardInterrupt):
        train_saes([target], stream(fail_at=14), checkpoint_every_steps=3, **quiet)
    state = target.folder / "checkpoint" / "state.safetensors"
    content = bytearray(state.read_bytes())
    content[at] ^= 4
    state.write_bytes(content)
    said = []
    train_saes([target], stream(), **{**quiet, "log": said.append})
    assert is_finished(target, D_MODEL) and not any("resuming" in line for line in said)


def test_what_a_run_left_that_was_killed_at_its_very_end_is_removed(tmp_path, stream, quiet):
    [target] = targets(tmp_path, TOPK)
    train_saes([target], stream(), **quiet)
    (target.folder / "checkpoint").mkdir()
    (target.folder / "checkpoint" / "state.safetensors").write_bytes(b"large")
    train_saes([target], stream(), **quiet)
    assert not (target.folder / "checkpoint").exists()


def test_a_last_batch_of_one_token_leaves_json_that_can_be_read(tmp_path, quiet, array_stream):
    """One token has no variance, so nothing of it can be explained."""
    [target] = targets(tmp_path, {**TOPK, "batch_tokens": 64, "epochs": 1})
    x = np.random.default_rng(0).normal(size=(129, D_MODEL)).astype(np.float32)
    train_saes([target], array_stream(x, 64), **quiet)

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    config = json.loads((target.folder / "cfg.json").read_text(), parse_constant=refuse)
    assert config["metadata"]["clip_sae"]["training"]["final"]["explained_variance"] is None


def test_unit_rows_after_each_step(tmp_path, stream, quiet, monkeypatch):
    step, norms = passes.Learner.step, []

    def watched(self, *args, **options):
        row = step(self, *args, **options)
        norms.append(self.weights.W_dec.norm(dim=1))
        return row

    monkeypatch.setattr(passes.Learner, "step", watched)
    train_saes(targets(tmp_path, VANILLA), stream(), **quiet)
    torch.testing.assert_close(torch.stack(norms), torch.ones(len(norms), 32))
    assert len(norms) == 28


def test_mistakes_are_named(tmp_path, stream, quiet, array_stream):
    with pytest.raises(TrainingError, match="the list of targets is empty"):
        train_saes([], stream(), **quiet)
    with pytest.raises(TrainingError, match=r"share epochs, got 1\.0, 2\.0"):
        train_saes(targets(tmp_path, TOPK, {**TOPK, "epochs": 1}), stream(), **quiet)
    twice = targets(tmp_path, TOPK)
    with pytest.raises(TrainingError, match="two targets share a folder"):
        train_saes(twice + twice, stream(), **quiet)
    with pytest.raises(TrainingError, match=r"shape \(64, 8\); expected \[token, 9\]"):
        train_saes(targets(tmp_path, TOPK), stream(), **{**quiet, "d_model": 9})
    with pytest.raises(ValueError, match="k is 40, but the SAE has only 32 latents"):
        train_saes(targets(tmp_path, {**TOPK, "k": 40}), stream(), **quiet)
    bad = np.full((64, D_MODEL), np.nan, "f4")
    with pytest.raises(TrainingError, match="base: the loss is nan at step 1.*verify the store"):
        train_saes(targets(tmp_path, TOPK), array_stream(bad, 64), **quiet)
    short = stream()
    short.n_batches += 1
    short.epoch = lambda epoch, start=0: iter([short.x[:64]])
    with pytest.raises(TrainingError, match="stream ended after 1 of 16 batches"):
        train_saes(targets(tmp_path, TOPK), short, **quiet)


def test_progress_says_what_matters(tmp_path, stream, quiet, capsys):
    said = []
    train_saes(
        targets(tmp_path, VANILLA), stream(), **{**quiet, "progress": True, "log": said.append}
    )
    for word in ("loss", "L0", "EV", "dead", "tokens/s", "left"):
        assert word in said[-1]
    assert "14/14" in capsys.readouterr().err
    rows = [
        {"loss": 1.0, "l0": 2.0, "explained_variance": 0.5, "dead_latents": n} for n in (3, 3, 7)
    ]
    assert summary(rows) == "loss 1, L0 2.0, EV 0.500, dead 3 to 7"


def test_a_diverged_sae_does_not_take_the_others_with_it(tmp_path, stream, quiet):
    section = {**VANILLA, "l1_coefficient": 0.3, "lr": [3e-3, 1e30], "clip_norm": None}
    both = targets(tmp_path / "both", section)
    with pytest.raises(TrainingError, match=r"lr-1e30: the loss is (nan|inf)"):
        train_saes(both, stream(), **quiet)
    assert [is_finished(target, D_MODEL) for target in both] == [True, False]
    alone = targets(tmp_path / "alone", {**section, "lr": [3e-3]})
    train_saes(alone, stream(), **quiet)
    name = "sae_weights.safetensors"
    assert files(both[0])[name] == files(alone[0])[name]
