"""Pictures and augmented sets in a config: mistakes are sentences, edits change what follows."""

import copy
from pathlib import Path

import pytest
import yaml

from clip_sae.config import ConfigError, validate_config
from clip_sae.pictures_plan import WORDS, PicturesPlan
from clip_sae.plan import Plan, StoreKey
from clip_sae.suppression_plan import SuppressionPlan
from clip_sae.typographic_plan import TypographicPlan

ROOT = Path(__file__).resolve().parents[1]
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
        r"datasets\.turned: give either `root` .* or `augment`",
    ),
    "another kind": (
        {"datasets.turned.kind": "waterbirds"},
        r"turned: `augment` makes a set of kind augmented, and only that",
    ),
    "no augment": (
        {"datasets.turned": {"kind": "augmented", "root": "data"}},
        r"turned: `augment` makes a set of kind augmented, and only that",
    ),
    "an unknown source": (
        {"datasets.turned.augment.dataset": "birds"},
        r"augment\.dataset: 'birds' is not under `datasets`; there are: general",
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
        r"pictures\.names: 'general' is not a set that is shown: celeba, waterbirds",
    ),
    "an example of no set": (
        {f"{PICTURES}.examples": {"general": "x.png"}},
        r"examples: 'general' is not a set that is shown: celeba, waterbirds, attacked",
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
    with pytest.raises(ConfigError, match="analyses.pictures: it shows what `suppression` and"):
        validate_config(config, SCHEMA)


def planned(edits: dict | None = None, without: str = "") -> tuple[Plan, PicturesPlan]:
    config = edited(edits or {})
    config["analyses"].pop(without, None)
    config = validate_config(config, SCHEMA)
    plan = Plan(config, workflow=ROOT / "workflow", src=ROOT / "src")
    analyses = config["analyses"]
    return plan, PicturesPlan(
        plan,
        SuppressionPlan(plan) if "suppression" in analyses else None,
        TypographicPlan(plan) if "typographic" in analyses else None,
    )


def digests(plan: Plan, pictures: PicturesPlan) -> dict[str, str]:
    found = {name: pictures.figure(name).digest for name in pictures.figures}
    found |= {f"top {name}": pictures.top_images(name).digest for name in pictures.sets}
    found |= {f"example {name}": pictures.example(name).digest for name in pictures.sets}
    turned = plan.store(StoreKey("turned", "train", "resid_post", 3))
    return found | {"turned": plan.index("turned").digest, "turned store": turned.digest}


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
    before, after = digests(*planned()), digests(*planned(edits))
    assert {name for name in before if before[name] != after[name]} == changed


def test_an_augmented_set_reads_the_files_and_follows_the_content_of_its_source():
    plan, _ = planned()
    assert plan.data_root("turned") == plan.data_root("waterbirds")
    store = plan.store(StoreKey("turned", "train", "resid_post", 3))
    sources = [artefact.source for artefact in store.sources()]
    assert sources == ["dataset:turned", "dataset:waterbirds", "model:demo"]
    # a key that other sets do not have leaves their digests as they were
    assert "augment" not in plan.index("waterbirds").spec


def test_figures_are_those_that_the_config_has():
    both = planned()[1]
    assert both.figures == ["fig1", "fig2", "fig3", "fig10"]
    assert both.sets == ["celeba", "waterbirds", "attacked"]
    assert both.concepts("waterbirds") == {"a": "water", "not_a": "land"}
    assert both.concepts("celeba") == {"a": "blond hair", "not_a": "no blond hair"}
    assert both.concepts("attacked") == {"a": WORDS}
    assert both.cls_only("attacked") == ["topk_text"] and both.cls_only("celeba") == []
    assert planned(without="typographic")[1].figures == ["fig1", "fig2", "fig10"]
    edits = {f"{PICTURES}.names": {}}
    assert planned(edits, without="suppression")[1].figures == ["fig2", "fig3", "fig10"]
