"""Images of a split: the order of the sources, and unknown numbers."""

from pathlib import Path

import pytest

from clip_sae.planning.config import load_config
from clip_sae.planning.plan import Plan
from clip_sae.scale.images import ImageCount, count_images, parse_images

ROOT = Path(__file__).resolve().parents[2]


def plan_of(config: str, results: Path) -> Plan:
    loaded = load_config(ROOT / config, ROOT / "workflow/schemas/config.schema.yaml")
    loaded["results"] = str(results)
    return Plan(loaded, workflow=ROOT / "workflow", src=ROOT / "src")


@pytest.fixture
def paper(tmp_path, monkeypatch) -> Plan:
    return plan_of("workflow/experiments/paper.yaml", tmp_path / "r")


@pytest.fixture
def demo(tmp_path, monkeypatch) -> Plan:
    monkeypatch.chdir(ROOT)
    return plan_of("config.yaml", tmp_path / "r")


@pytest.mark.parametrize(
    ("split", "n", "source"),
    [
        (("imagenet", "train"), 1_281_167, "published"),
        (("imagenet100_attacked", "val"), 10_000, "attack of imagenet100 (published)"),
        (("waterbirds_augmented", "train"), 57_540, "augment of waterbirds (published)"),
        (("rta100", "test"), 1_000, "published"),
        (("imagenet", "test"), None, "unknown"),
    ],
)
def test_published_counts_and_what_follows_from_them(paper, split, n, source):
    assert count_images(paper, *split, {}) == ImageCount(n, source)


@pytest.mark.parametrize(
    ("split", "n"),
    [
        (("general", "train"), 9600),
        (("attacked", "train"), 4800),
        (("attacked", "test"), 0),
        (("waterbirds_augmented", "train"), 9600),
        (("typographic", "test"), 552),
    ],
)
def test_drawn_sets_have_as_many_as_the_config_says(demo, split, n):
    assert count_images(demo, *split, {}).n == n


def test_the_user_comes_first_and_the_manifest_second(demo):
    folder = demo.index("general").folder
    folder.mkdir(parents=True)
    rows = ["path,split,status", "a,train,ok", "b,train,bad", "c,val,ok"]
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    assert count_images(demo, "general", "train", {}) == ImageCount(1, "manifest")
    given = parse_images(["general/train=1_000"])
    assert count_images(demo, "general", "train", given) == ImageCount(1000, "given")
    assert count_images(demo, "attacked", "train", given).n == 2000  # of which it is a copy


@pytest.mark.parametrize(
    "text", ["general=3", "general/train", "general/trian=3", "/val=3", "a/val=x"]
)
def test_a_text_of_another_form_is_refused(text):
    with pytest.raises(ValueError, match="--images .* cannot be read; write data set, split"):
        parse_images([text])
