"""Pictures and augmented sets: mistakes give sentences, edits change the right digests."""

import copy
from functools import cache
from pathlib import Path

import pytest
import yaml

from clip_sae.analyses.pictures.plan import WORDS
from clip_sae.analyses.planned import planned
from clip_sae.planning.config import ConfigError, validate_config
from clip_sae.planning.plan import Plan, StoreKey

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
DEMO = yaml.safe_load((ROOT / "config.yaml").read_text())
DEMO["model"]["model"] = f"local-dir:{ROOT / 'workflow/resources/demo_clip'}"
AUGMENTED = {"kind": "augmented", "augment": {"dataset": "waterbirds", "rotate": [-10, 10]}}
PICTURES = "analyses.pictures"


def edited(edits: dict) -> dict:
    """The demo's config with an augmented set `turned`, and keys set, written `a.b.c`."""
    config = copy.deepcopy(DEMO)
    config["datasets"]["turned"] = copy.deepcopy(AUGMENTED)
    for dotted, value in edits.items():
        *parents, last = dotted.split(".")
        block = config
        for key in parents:
            block = block.setdefault(key, {})
        block[last] = value
    return config


MISTAKES = {
    "two origins": (
        {"datasets.turned.root": "data"},
        r"datasets\.turned: give either `root` .* `augment` .* or `draw`",
    ),
    "another kind": (
        {"datasets.turned.kind": "waterbirds"},
        r"turned: `augment` requires `kind: augmented` and vice versa",
    ),
    "no augment": (
        {"datasets.turned": {"kind": "augmented", "root": "data"}},
        r"turned: `augment` requires `kind: augmented` and vice versa",
    ),
    "an unknown source": (
        {"datasets.turned.augment.dataset": "birds"},
        r"augment\.dataset: 'birds' is not under `datasets`; its entries: general",
    ),
    "itself": (
        {"datasets.turned.augment.dataset": "turned"},
        r"augment\.dataset: 'turned' is itself an augmented set",
    ),
    "no operation": (
        {"datasets.turned.augment.rotate": []},
        r"augment: name at least one of rotate, crop, contrast, flip",
    ),
    "an unknown operation": (
        {"datasets.turned.augment.rotation": [10]},
        r"augment: unknown key `rotation`; did you mean `rotate`",
    ),
    "all of it cut off": ({"datasets.turned.augment.crop": [100]}, r"augment\.crop"),
    "an unknown ranking": ({f"{PICTURES}.ranking": "median"}, r"'median' is not one of 'mean'"),
    "names of no set": (
        {f"{PICTURES}.names": {"general": {"a": "x"}}},
        r"pictures\.names: 'general' is not one of the shown sets: celeba, waterbirds",
    ),
    "an example of no set": (
        {f"{PICTURES}.examples": {"general": "x.png"}},
        r"examples: 'general' is not one of the shown sets: celeba, waterbirds, attacked",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_become_sentences(mistake):
    edits, message = MISTAKES[mistake]
    with pytest.raises(ConfigError, match=message):
        validate_config(edited(edits), SCHEMA)


def test_pictures_need_something_to_show():
    config = edited({})
    for analysis in ("suppression", "typographic"):
        del config["analyses"][analysis]
    with pytest.raises(ConfigError, match="analyses.pictures: pictures show the sets of"):
        validate_config(config, SCHEMA)


def plan_of(edits: dict | None = None, without: str = "") -> Plan:
    """Return the plan of the edited config, without one of its analyses."""
    config = edited(edits or {})
    config["analyses"].pop(without, None)
    config = validate_config(config, SCHEMA)
    return planned(config, workflow=ROOT / "workflow", src=ROOT / "src")


def digests(edits: dict | None = None) -> dict[str, str]:
    """Return {output: digest} of the analysis and of the augmented set."""
    plan = plan_of(edits)
    pictures = plan.of("pictures")
    drawn = {name: plan.steps[f"results/{name}.png"].makes[""] for name in pictures.figures}
    found = {name: figure.digest for name, figure in drawn.items()}
    found |= {f"top {name}": pictures.top_images(name).digest for name in pictures.sets}
    found |= {f"example {name}": pictures.example(name).digest for name in pictures.sets}
    turned = plan.store(StoreKey("turned", "train", "resid_post", 3))
    return found | {"turned": plan.index("turned").digest, "turned store": turned.digest}


@cache
def unedited() -> dict[str, str]:
    return digests()


OF_WATERBIRDS = {"top waterbirds", "example waterbirds", "fig1", "fig2", "fig10"}


@pytest.mark.parametrize(
    "edits,changed",
    [
        ({f"{PICTURES}.examples": {"waterbirds": "a.png"}}, {"example waterbirds", "fig1"}),
        ({f"{PICTURES}.names": {"celeba": {"a": "fair hair"}}},
         {"top celeba", "example celeba", "fig1", "fig2", "fig10"} | OF_WATERBIRDS),
        ({f"{PICTURES}.latents": 2}, {"example celeba", "example waterbirds", "fig1"}),
        ({f"{PICTURES}.units": 2},
         {"top celeba", "top waterbirds", "top attacked", "fig2", "fig10"}),
        ({"analyses.suppression.sets.waterbirds.directions": ["a"]}, OF_WATERBIRDS),
        ({"analyses.typographic.max_clean_cost": 0.5},
         {"top attacked", "example attacked", "fig2", "fig3", "fig10"}),
        ({"datasets.turned.augment.rotate": [10]}, {"turned", "turned store"}),
        ({"datasets.turned.augment.flip": True}, {"turned", "turned store"}),
        ({"datasets.waterbirds.draw.seed": 1}, OF_WATERBIRDS | {"turned", "turned store"}),
    ],
)  # fmt: skip
def test_an_edit_changes_what_depends_on_it(edits, changed):
    before, after = unedited(), digests(edits)
    assert {name for name in before if before[name] != after[name]} == changed


def test_an_augmented_set_reads_the_files_and_follows_the_content_of_its_source():
    plan = plan_of()
    assert plan.images("turned").root == plan.images("waterbirds").root
    store = plan.store(StoreKey("turned", "train", "resid_post", 3))
    sources = [artefact.source for artefact in store.sources()]
    assert sources == ["dataset:turned", "dataset:waterbirds", "model:demo"]
    # a key of one set does not change the digests of others
    assert "augment" not in plan.index("waterbirds").spec


def test_figures_are_those_that_the_config_has():
    plan = plan_of()
    both = plan.of("pictures")
    assert both.figures == ["fig1", "fig2", "fig3", "fig10"]
    assert both.sets == ["celeba", "waterbirds", "attacked"]
    assert both.concepts("waterbirds") == {"a": "water", "not_a": "land"}
    assert both.concepts("celeba") == {"a": "blond hair", "not_a": "no blond hair"}
    assert both.concepts("attacked") == {"a": WORDS}
    files = [f"results/{name}.png" for name in both.figures]
    assert {*files, "results/top_images.csv"} <= set(plan.files_of("all"))
    assert plan_of(without="typographic").of("pictures").figures == ["fig1", "fig2", "fig10"]
    edits = {f"{PICTURES}.names": {}}
    only_words = plan_of(edits, without="suppression")
    assert only_words.of("pictures").figures == ["fig2", "fig3", "fig10"]
    assert plan_of(without="pictures").of("pictures") is None


def test_figures_read_the_images_that_they_show():
    """Steps wait for a made set's pixels too, so that a deleted folder is made first."""
    plan = plan_of()
    for figure in plan.of("pictures").figures:
        step = plan.steps[f"results/{figure}.png"]
        read = {artefact.path for artefact in step.upstream}
        for name in plan.of("pictures").sets_of(figure):
            made = plan.made_set(name)
            assert {plan.index(name).path, made.path} <= read


def test_the_pictures_of_a_set_read_what_was_chosen_on_it():
    plan = plan_of()
    pictures, typographic = plan.of("pictures"), plan.of("typographic")
    read = {a.path for a in plan.steps[pictures.top_images("attacked").path].upstream}
    assert {a.path for a in typographic.chosen.values()} <= read
    assert {a.path for a in typographic.sweeps.values()} <= read
    read = {a.path for a in plan.steps[pictures.example("celeba").path].upstream}
    assert plan.of("suppression").summary("celeba").path in read
