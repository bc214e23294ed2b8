"""A small complete project: the workflow, a CLIP of two layers with random weights, nine images.

The DAG tests build it once and then compare, for each edit, the rules of a dry run.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
CLASSES = ("cat", "key", "sun")
WORDS = "a an the of photo image picture landbird waterbird"


class Project:
    """A copy of the workflow in a separate folder, in which Snakemake runs."""

    def __init__(self, path: Path, timeout: int = 600):
        self.path = path
        self.timeout = timeout  # seconds of one call of snakemake

    @property
    def config(self) -> dict:
        return yaml.safe_load((self.path / "config.yaml").read_text())

    def write_config(self, config: dict) -> None:
        (self.path / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))

    def edit_config(self, dotted: str, value) -> None:
        """Set one key of config.yaml, written `a.b.c`."""
        config = self.config
        *parents, last = dotted.split(".")
        block = config
        for key in parents:
            block = block[key]
        block[last] = value
        self.write_config(config)

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
        return subprocess.run(
            [sys.executable, "-m", "snakemake", *arguments],
            cwd=self.path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=self.timeout,
        )

    def run(self, *arguments: str) -> str:
        done = self.snakemake(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def planned(self, *arguments: str) -> set[str]:
        """Return the jobs of a dry run, named by their logs: "draw/fig4", "train_x_L00".

        Digests are left out: "measure_reconstruction/topk_resid-01".
        """
        text = self.run("--dry-run", *arguments)
        logs = re.findall(r"^ +log: \S*?results/logs/(\S+)\.log$", text, flags=re.MULTILINE)
        return {re.sub(r"-[0-9a-f]{10}\b", "", name) for name in logs}

    def planned_rules(self, *arguments: str) -> set[str]:
        """Return the names of the rules of a dry run, without the wildcards of their jobs."""
        return {name.partition("/")[0] for name in self.planned(*arguments)}

    def replace_in(self, file: str, old: str, new: str) -> None:
        path = self.path / file
        text = path.read_text()
        assert old in text, f"{file} has no {old!r}"
        path.write_text(text.replace(old, new, 1))


def small_config(path: Path) -> dict:
    """Return a config with every rule of the demo, on a model of two layers and d_model 16."""
    place = {"dataset": "general", "split": "train"}
    sae = {"expansion_factor": 2, "batch_tokens": 8, "warmup_steps": 1, "dead_window_tokens": 16}
    return {
        "model": {"name": "tiny", "model": "local-dir:clip", "pretrained": None},
        "datasets": {"general": {"kind": "imagenet", "root": "images"}},
        "zeroshot": {"templates": ["a photo of a {}."]},
        "activations": {"layers": [0, 1], "chunk_mb": 0.001, "min_shards": 2},
        "saes": {
            "vanilla_mlp": {
                **place,
                **sae,
                "hook": "mlp_out",
                "layers": [0, 1],
                "architecture": "vanilla",
                "form": "prisma_compat",
                "l1_coefficient": [1.0e-4, 1.0e-5],
            },
            "topk_resid": {
                **place,
                **sae,
                "hook": "resid_post",
                "layers": [1],
                "architecture": "topk",
                "form": "standard",
                "k": 4,
            },
        },
        "analyses": {
            "bootstrap_resamples": 100,
            "reconstruction": {
                "dataset": "general",
                "split": "test",
                "table3": ["vanilla_mlp"],
                "table4": ["topk_resid"],
            },
            "l0": {"dataset": "general", "split": "test", "recipe": "vanilla_mlp", "map_layer": 1},
        },
    }


def write_images(root: Path) -> None:
    rng = np.random.default_rng(0)
    for split, n in (("train", 8), ("val", 2), ("test", 3)):
        for name in CLASSES:
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(n):
                pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{name}_{i:05d}.png")


def write_clip(folder: Path, seed: int = 0) -> None:
    """Make an open_clip local-dir model: 32 px, patch 8 (4 x 4 patches), 2 layers, d_model 16."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    from clip_sae.clip.tokenizer import build_vocabulary

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = build_vocabulary([WORDS, " ".join(CLASSES)])
    config = {
        "embed_dim": 8,
        "vision_cfg": {
            "image_size": 32,
            "layers": 2,
            "width": 16,
            "patch_size": 8,
            "head_width": 8,
        },
        "text_cfg": {
            "context_length": 24,
            "vocab_size": len(vocabulary),
            "width": 16,
            "heads": 2,
            "layers": 1,
        },
    }
    torch.manual_seed(seed)
    model = open_clip.CLIP(**config)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    preprocess = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": preprocess})
    )
    (folder / "vocabulary.json").write_text(json.dumps(vocabulary))


def new_project(path: Path) -> Project:
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info", "demo_clip")
    for name in ("workflow", "src", "profiles", "envs"):
        shutil.copytree(ROOT / name, path / name, ignore=ignore)
    shutil.copy(ROOT / "Snakefile", path / "Snakefile")
    write_images(path / "images")
    write_clip(path / "clip")
    project = Project(path)
    project.write_config(small_config(path))
    return project


def plan_of(project: Project):
    """Return the plan of a project's config, made by the repository's code."""
    from clip_sae.analyses.planned import planned
    from clip_sae.planning.config import load_config

    here = os.getcwd()
    os.chdir(project.path)  # paths of a config are relative to the project
    try:
        config = load_config(
            project.path / "config.yaml", ROOT / "workflow/schemas/config.schema.yaml"
        )
        return planned(config, workflow=project.path / "workflow", src=project.path / "src")
    finally:
        os.chdir(here)
