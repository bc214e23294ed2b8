"""The registry of data sets: a kind or a maker is one object, and plug-ins are found by name."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from clip_sae.analyses.planned import planned
from clip_sae.datasets.listing import Listing, rows_of
from clip_sae.planning.config import ConfigError, validate_config
from clip_sae.planning.kinds import (
    KINDS,
    MAKERS,
    Expected,
    ImageCount,
    Maker,
    Option,
    kind,
    kinds,
    kinds_table,
    makers,
    register,
    with_kinds,
)
from clip_sae.planning.plugins import load_plugins
from clip_sae.planning.steps import RULES, Rule
from clip_sae.scale.images import count_images

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"


@pytest.fixture
def registries(monkeypatch):
    """Forget what a test registers; paths of the demo's config start from the project."""
    monkeypatch.chdir(ROOT)
    kinds()
    before = [(registry, dict(registry)) for registry in (KINDS, MAKERS, RULES)]
    yield
    for registry, entries in before:
        registry.clear()
        registry.update(entries)


@pytest.fixture
def toy(registries):
    """A kind whose images lie flat in one folder, with one option and published counts."""

    @kind(
        "flat",
        layout="`<image>`",
        options={"label": Option({"enum": ["toy", "other"]}, "label of all images")},
        published={"flat": Expected(splits={"test": 2}, classes=1)},
    )
    def load_flat(root: Path, options: dict) -> Listing:
        """Images of one class."""
        label = options.get("label", "toy")
        paths = sorted(path.name for path in root.iterdir())
        return Listing(rows_of(paths, "test", [label] * len(paths)), [label], published="flat")


@pytest.fixture
def doubled(registries):
    """A maker whose sets hold each image of another set twice, in files of their own."""

    @register
    class Doubled(Maker):
        section = "double"
        what = "each image twice"
        rule = Rule("double_images", "world/{doubled}-{digest}/COMPLETE.json", "toy:double_images")
        help = "Copy each image of a set twice."
        schema = """
        description: make this set of another one, each image twice
        required: [dataset]
        properties:
          dataset: {type: string, refersTo: datasets, description: the set that is copied}
        """

        def mistakes(self, where, section, datasets):
            if datasets[section["dataset"]]["double"] is not None:
                yield f"{where}.dataset: {section['dataset']!r} is doubled already."

        def declares(self, plan, section):
            return {"reads": {"images": plan.images(section["dataset"])}}

        def folder(self, section):
            return "images"

        def count(self, section, split, count):
            return ImageCount(2 * count(section["dataset"], split).n, "double")


def with_set(name: str, entry: dict) -> dict:
    """The demo's config with one more data set."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["datasets"][name] = entry
    return config


def test_a_kind_is_listed_checked_and_counted(toy, index, picture, tmp_path):
    for name in ("a.png", "b.png"):
        picture(tmp_path / "flat" / name)
    found = index("flat", tmp_path / "flat", options={"label": "other"})
    assert found.manifest["label"].tolist() == ["other", "other"]
    assert found.summary["counts_checked"] == "flat"
    entry = {"kind": "flat", "root": str(tmp_path / "flat")}
    plan = planned_demo(entry, tmp_path)
    assert count_images(plan, "toy", "test", {}) == ImageCount(2, "published")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"label": "thrid"}, r"datasets\.toy\.options\.label: 'thrid' is not one of 'toy', 'oth"),
        ({"labl": "toy"}, r"datasets\.toy\.options: unknown key `labl`; did you mean `label`\?"),
        ({"splits": ["tset"]}, r"datasets\.toy\.options\.splits\.0: 'tset' is not one of 'train'"),
        ({"expect": "flta"}, r"datasets\.toy\.options\.expect: 'flta' .*null \(no check\)"),
    ],
)
def test_options_are_checked_when_the_config_is_read(toy, options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        validate_config(with_set("toy", {"kind": "flat", "root": "x", "options": options}), SCHEMA)


def planned_demo(entry: dict, results: Path):
    config = validate_config(with_set("toy", entry), SCHEMA)
    config["results"] = str(results / "r")
    return planned(config, workflow=ROOT / "workflow", src=ROOT / "src")


def test_a_made_set_is_planned_checked_and_counted(doubled, tmp_path):
    entry = {"kind": "imagenet", "double": {"dataset": "general"}}
    plan = planned_demo(entry, tmp_path)
    made = plan.made_set("toy")
    step = plan.steps[made.path]
    assert step.name == "double_images_toy" and step.run == "toy:double_images"
    assert made.path.startswith(f"{plan.results}/world/toy-")
    assert plan.root("toy").path == f"{made.folder}/images"
    assert made in plan.steps[plan.index("toy").path].upstream
    assert plan.made_set("general") in step.upstream
    assert count_images(plan, "toy", "val", {}) == ImageCount(2 * 960, "double")
    for change, sentence in (
        ({"root": "x"}, r"datasets\.toy: give either `root` .* `double` \(each image twice\)"),
        ({"double": {"dataset": "toy"}}, r"toy\.double\.dataset: 'toy' is doubled already"),
        ({"double": {}}, r"datasets\.toy\.double: the key `dataset` is missing"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            validate_config(with_set("toy", entry | change), SCHEMA)


def test_two_kinds_or_makers_cannot_share_a_name(toy):
    with pytest.raises(ValueError, match="two kinds or makers of data sets are called 'flat'"):
        kind("flat", layout="")(lambda root, options: None)


def test_the_table_names_every_kind_and_its_options(toy):
    table = kinds_table()
    for name, entry in kinds().items():
        assert f"| `{name}` | {entry.layout} |" in table and entry.help in table
        assert all(f"`{key}`: {option.help}" in table for key, option in entry.options.items())
    assert all(f"| `{section}` | {maker.what} |" in table for section, maker in makers().items())


def test_every_key_of_the_makers_is_described():
    schema = with_kinds(yaml.safe_load(SCHEMA.read_text()))["$defs"]["dataset"]
    for section in makers():
        keys = schema["properties"][section]
        assert keys["description"] and keys["additionalProperties"] is False
        for name, key in keys["properties"].items():
            assert key["description"], f"{section}.{name}"


def test_reading_the_registry_imports_no_array_library():
    code = (
        "import sys, clip_sae.planning.kinds as k; assert k.kinds() and k.makers(); "
        "print([m for m in ('torch', 'pandas', 'numpy', 'PIL') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_a_plugin_is_found_by_its_name(tmp_path, monkeypatch, registries):
    package = tmp_path / "clip_sae_toy"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "words.py").write_text("WORDS = ['a', 'b']\n")
    (package / "plugin.py").write_text(
        "from clip_sae.planning.plugins import WORDS\nWORDS['toy'] = 'clip_sae_toy.words:WORDS'\n"
    )
    code = (
        "from clip_sae.planning.plugins import load_plugins, words_code, words_of; "
        "print(load_plugins(), words_of('toy'), len(words_code('toy')))"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT / 'src'}")
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "('clip_sae_demo', 'clip_sae_toy') ['a', 'b'] 10"
    assert load_plugins() == ("clip_sae_demo",)
