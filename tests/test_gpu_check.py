"""The GPU check runs at tiny size on the CPU and on its pretend GPU, and reports failures."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from clip_sae.training.codes import SparseCodes

GPU = Path(__file__).resolve().parents[1] / "benchmarks" / "gpu"
QUICK = ("environment", "operators", "training", "tower", "steps", "parts")

PRETEND = """
import pretend_cuda, pretend_log, torch

def error_of(action):
    try:
        action()
    except (RuntimeError, TypeError) as error:
        return str(error)
    return "none"

with pretend_cuda.pretend():
    x = torch.arange(6.0, device="cuda").view(2, 3)
    with pretend_log.recording() as operations:
        product = x @ x.T
        total = product.sum().item()
    assert product.device == torch.device("cuda:0") and torch.cuda.is_available()
    assert product.cpu().tolist() == [[5.0, 14.0], [14.0, 50.0]] and total == 83.0
    found = {operation.name: operation for operation in operations}
    assert found["mm"].flops == 24 and not found["mm"].waits
    assert found["_local_scalar_dense"].waits
    assert "same device" in error_of(lambda: x + torch.ones(2, 3))
    assert "numpy" in error_of(x.numpy)
    generator = torch.Generator()
    assert "generator" in error_of(lambda: torch.rand(2, device="cuda", generator=generator))
    kept = x.clone()
    kept[0] = 1.0
    assert kept.add_(1.0) is kept and kept.cpu()[0].tolist() == [2.0, 2.0, 2.0]
assert not torch.cuda.is_initialized()
"""


@pytest.fixture
def check(monkeypatch):
    """Import the command as a module; remove its neighbours from sys.modules afterwards."""
    monkeypatch.syspath_prepend(str(GPU))
    import check

    yield check
    for name, module in list(sys.modules.items()):
        if Path(getattr(module, "__file__", None) or "/").parent == GPU:
            del sys.modules[name]


def run(*arguments, **variables):
    """Run a Python process in the check's folder, on one thread."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=os.environ | {"OMP_NUM_THREADS": "1"} | variables,
        cwd=GPU,
        capture_output=True,
        text=True,
    )


def passed(process, folder):
    """The report of a run in which every check passed."""
    assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-3000:]
    report = json.loads((folder / "gpu.json").read_text())
    assert report["checks"] and all(check["passed"] for check in report["checks"])
    return report


def test_quick_sections_pass_on_the_cpu(tmp_path):
    arguments = ("--device", "cpu", "--tiny", "--only", *QUICK)
    report = passed(run("check.py", *arguments, OUT=str(tmp_path)), tmp_path)
    assert list(report["seconds"]) == list(QUICK)
    names = [check["name"] for check in report["checks"]]
    for part in ("embedding_bag, no entry", "gated: two runs", "run_to, run_from: auto"):
        assert any(part in name for name in names), part
    assert {"ceilings", "step 64", "parts"} <= set(report["speed"])
    assert report["speed"]["step 64"]["ours batchtopk high"]["rounds"] >= 1
    assert len(report["kernels"]) == 6


@pytest.mark.slow
def test_all_sections_pass_on_the_cpu_and_on_the_pretend_gpu(check, tmp_path):
    whole = ("--tiny", "--out", tmp_path)
    names = [section.name for section in check.SECTIONS]
    on_cpu = run("check.py", "--device", "cpu", *whole, TRITON_INTERPRET="1")
    assert list(passed(on_cpu, tmp_path)["seconds"]) == names
    pretended = run("pretend_cuda.py", GPU / "check.py", "--device", "cuda", *whole)
    report = passed(pretended, tmp_path)
    assert list(report["seconds"]) == names
    assert report["environment"]["device"] == "pretend"


def test_the_pretend_gpu_computes_and_refuses_mixes():
    process = run("-c", PRETEND)
    assert process.returncode == 0, process.stderr


def test_a_wrong_result_is_reported_and_fails_the_run(check, tmp_path, monkeypatch):
    monkeypatch.setattr(SparseCodes, "decode", lambda codes, rows: torch.randn(64, 96))
    arguments = ["--device", "cpu", "--tiny", "--only", "operators", "--out", str(tmp_path)]
    assert check.main(arguments) == 1
    checks = json.loads((tmp_path / "gpu.json").read_text())["checks"]
    wrong = [c["name"] for c in checks if not c["passed"]]
    assert len(wrong) == 3 and all(name.startswith("embedding_bag") for name in wrong)


def test_a_section_that_raises_or_comes_late_fails_and_the_next_one_runs(
    check, tmp_path, monkeypatch
):
    from time_limits import Section

    def late(bench):
        try:
            time.sleep(60)
        except Exception:
            bench.report.note("a handler inside a section saw the time limit")

    def broken(bench):
        raise ValueError("no such thing")

    def good(bench):
        bench.compare("equal", [1.0], [1.0], 1e-6)
        bench.compare("other shape", [1.0, 1.0], [1.0], 1e-6)

    sections = (Section("late", late, 1), Section("broken", broken, 5), Section("good", good, 5))
    monkeypatch.setattr(check, "SECTIONS", sections)
    assert check.main(["--device", "cpu", "--tiny", "--out", str(tmp_path)]) == 1
    report = json.loads((tmp_path / "gpu.json").read_text())
    found = {c["name"]: (c["passed"], c["value"]) for c in report["checks"]}
    assert found == {
        "late": (False, "stopped after 1 s"),
        "broken": (False, "ValueError: no such thing"),
        "equal": (True, "0.0e+00"),
        "other shape": (False, "inf"),
    }
    assert not report["notes"]


def test_without_a_gpu_the_command_says_what_to_write(check, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="2"):
        check.main([])
    assert "--device cpu --tiny" in capsys.readouterr().err
