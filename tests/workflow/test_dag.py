"""The DAG is known from the config alone: parse time, experiments, messages, lint."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


def snakemake(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "snakemake", *arguments],
        cwd=cwd,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def linked(folder: Path) -> Path:
    """The folder, in which the repository's workflow is seen and no results are."""
    for name in ("Snakefile", "workflow", "src", "profiles", "envs", "config.yaml"):
        (folder / name).symlink_to(ROOT / name)
    return folder


@pytest.fixture
def workdir(tmp_path):
    """A folder to run in that sees the repository's workflow, and has no results."""
    return linked(tmp_path)


TARGETS = (
    "results/table3.csv",
    "results/table4.html",
    "results/fig4.png",
    "results/fig8.svg",
    "results/frontier.svg",
    "results/table1.csv",
    "results/table2.html",
    "results/typographic_two_way.md",
    "results/table8.html",
    "results/fig1.png",
    "results/fig2.svg",
    "results/fig3.png",
    "results/fig10.png",
    "results/top_images.csv",
    "results/concepts.csv",
    "results/concepts.svg",
    "results/concept_masks.csv",
    "results/concept_masks.png",
    "results/quality.md",
    "results/quality_seeds.csv",
    "results/class_concepts.csv",
    "results/class_concepts.svg",
    "results/class_concepts.md",
    "results/adaptation_changes.md",
    "results/steerability_layers.csv",
    "results/steering_traces.csv",
    "results/steerability_baselines_rarefaction.csv",
    "results/fig5.png",
    "results/fig6.svg",
    "results/fig7.png",
    "results/fig9.svg",
    "results/steerability_layers.html",
)


@pytest.fixture(scope="module")
def planned_jobs(tmp_path_factory) -> dict[str, tuple[str, list[str]]]:
    """Every file that the targets need → the rule that makes it, and that rule's inputs.

    One dry run for all of them: reading the demo's workflow takes seconds.
    """
    done = snakemake("--dry-run", *TARGETS, cwd=linked(tmp_path_factory.mktemp("demo")))
    assert done.returncode == 0, done.stdout + done.stderr
    jobs, text = {}, done.stdout + done.stderr
    for block in re.split(r"^(?:local)?rule ", text, flags=re.MULTILINE)[1:]:
        fields = re.findall(r"^    (input|output): (.+)$", block, flags=re.MULTILINE)
        files = {key: paths.split(", ") for key, paths in fields}
        made = (block.partition(":")[0], files.get("input", []))
        jobs |= {path: made for path in files.get("output", [])}
    return jobs


@pytest.mark.parametrize("target", TARGETS)
def test_every_paper_item_is_a_target(planned_jobs, target):
    rules, pending = set(), [target]
    while pending:
        rule, needed = planned_jobs.get(pending.pop(), (None, []))
        if rule is not None and rule not in rules:
            rules.add(rule)
            pending += needed
    assert target in planned_jobs
    assert "extract_general_train_block0" in rules


def test_adaptation_needs_no_activations_of_other_sets(workdir):
    done = snakemake("--dry-run", "results/adaptation.md", "results/adaptation.svg", cwd=workdir)
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    trained = re.findall(r"^(train_adaptation_\w+)\s+1$", text, flags=re.MULTILINE)
    assert len(set(trained)) == 9 and "extract_" not in text


def test_paper_experiment_plans_its_whole_dag_without_data_or_weights(workdir):
    done = snakemake(
        *("--dry-run", "--configfile", "workflow/experiments/paper.yaml"),
        *("--", "all", "extended"),
        cwd=workdir,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    text = done.stdout + done.stderr
    counts = dict(re.findall(r"^(\w+)\s+(\d+)$", text, flags=re.MULTILINE))
    trained = [name for name in counts if name.startswith("train_")]
    # 6 layers of Table 3, 12 of Table 4 and of Figs 4 and 8, the sweep, the frontier's recipes,
    # 12 of the SAEs of each task's own images
    assert len(trained) == 6 + 12 + 12 + 1 + 7 + 2 * 12
    assert {"extract_imagenet_train_block0", "extract_imagenet_val_block0", "table3", "table4",
            "fig4", "fig8", "measure_sweep", "frontier", "embed_vocabulary",
            "steerability", "steering_traces", "table2", "learn_prefix_on_ablated",
            "attack_imagenet100_attacked"} <= counts.keys()  # fmt: skip
    # latents, neurons in two ways and three baselines, twelve layers each
    assert len([name for name in counts if name.startswith("measure_steering_")]) == 6 * 12
    # replaced, not merged: nothing of the demo is left
    assert not [name for name in counts if "general" in name or name.startswith("draw_")]
    assert "results-paper/table3.csv" in text


def test_patchsae_experiment_plans_its_whole_dag_without_data_or_weights(workdir):
    done = snakemake(
        *("--dry-run", "--configfile"),
        *("workflow/experiments/patchsae.yaml", "--", "all", "adaptation"),
        cwd=workdir,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    text = done.stdout + done.stderr
    counts = dict(re.findall(r"^(\w+)\s+(\d+)$", text, flags=re.MULTILINE))
    config = yaml.safe_load((ROOT / "workflow/experiments/patchsae.yaml").read_text())
    sets = config["analyses"]["adaptation"]["datasets"]
    assert len(sets) == 11 and {f"index_{name}" for name in sets} <= counts.keys()
    expected = {
        f"{rule}_{name}_{method}{end}"
        for name in sets
        for method in ("coop", "vpt", "maple")
        for rule, ends in (("train_adaptation", ("_1", "_2", "_3")), ("measure_changes", ("",)))
        for end in ends
    }
    assert expected <= counts.keys()
    assert {"train_patchsae_L10", "count_classes", "class_concepts", "adaptation_changes",
            "plot_adaptation_changes", "table3"} <= counts.keys()  # fmt: skip
    # the adaptation reads its images themselves: activations are ImageNet's alone
    extracted = {name for name in counts if name.startswith("extract_")}
    assert extracted == {"extract_imagenet_train_block0", "extract_imagenet_val_block0"}
    assert "results-patchsae/adaptation_changes.csv" in text and "table4" not in counts


def test_parsing_takes_under_two_seconds_and_no_torch():
    code = (
        "import sys, time, pathlib, yaml\n"
        "start = time.process_time()\n"
        "from clip_sae.config import load_config\n"
        "from clip_sae.plan import Plan\n"
        "root = pathlib.Path('.')\n"
        "config = load_config(root / 'workflow/experiments/paper.yaml',"
        " root / 'workflow/schemas/config.schema.yaml')\n"
        "plan = Plan(config, workflow=root / 'workflow', src=(root / 'src').resolve())\n"
        "[plan.all_saes(name) for name in config['saes']]\n"
        "plan.code('measure_reconstruction')\n"
        "assert 'torch' not in sys.modules\n"
        "print(time.process_time() - start)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 2.0, done.stdout  # CPU seconds: what else runs does not count


def test_mistake_in_the_config_stops_with_its_sentence(workdir):
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["saes"]["topk_resid"]["kk"] = 3
    (workdir / "edited.yaml").write_text(yaml.safe_dump(config))
    done = snakemake(
        "--dry-run", "--replace-workflow-config", "--configfile", "edited.yaml", cwd=workdir
    )
    assert done.returncode != 0
    text = done.stdout + done.stderr
    assert "saes.topk_resid: unknown key `kk`; did you mean `k`?" in text
    assert "Traceback" not in text


def test_lint_and_format_are_clean():
    done = snakemake("--lint")
    assert done.returncode == 0, done.stdout + done.stderr
    snakefmt = Path(sys.executable).with_name("snakefmt")
    tool = str(snakefmt) if snakefmt.exists() else shutil.which("snakefmt")
    done = subprocess.run(
        [tool, "--check", "Snakefile", "workflow"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_profiles_repeat_the_settings_that_they_would_replace():
    default = yaml.safe_load((ROOT / "profiles/default/profile.yaml").read_text())
    needed = {key: default[key] for key in ("rerun-triggers", "rerun-incomplete")}
    for path in (ROOT / "profiles").glob("*/profile.yaml"):
        profile = yaml.safe_load(path.read_text())
        assert {key: profile.get(key) for key in needed} == needed, path
        science = {"config", "configfile", "replace-workflow-config"}
        assert not science & profile.keys(), f"{path} holds more than how jobs run"
