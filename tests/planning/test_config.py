"""Each mistake in a config gets a sentence that says what to change."""

import copy
from pathlib import Path

import pytest
import yaml

from clip_sae.planning.config import ConfigError, load_config, validate_config

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
PAPER = yaml.safe_load((ROOT / "workflow/experiments/paper.yaml").read_text())


def edited(**edits) -> dict:
    """Return the paper's config with keys set, written `a__b__c`; None removes a key."""
    config = copy.deepcopy(PAPER)
    for dotted, value in edits.items():
        *parents, last = dotted.split("__")
        block = config
        for key in parents:
            block = block[key]
        if value is None:
            del block[last]
        else:
            block[last] = value
    return config


MISTAKES = {
    "misspelt key": (
        {"saes__topk_resid__expansion_facter": 8},
        r"saes\.topk_resid: unknown key `expansion_facter`; did you mean `expansion_factor`\?",
    ),
    "misspelt section": ({"activation": {}}, r"the config: unknown key `activation`; did you mean"),
    "layer that the model lacks": (
        {"activations__layers": [0, 12]},
        r"activations\.layers: layer 12 does not exist; ViT-B-32 has 12 layers, numbered 0 to 11",
    ),
    "layer that is not extracted": (
        {"activations__layers": [0, 1, 2, 3, 4, 5]},
        r"saes\.topk_resid\.layers: layers \[6, .*\] are not extracted; add them to",
    ),
    "TopK without k": ({"saes__topk_resid__k": None}, r"topk_resid.*\bk\b"),
    "1e-3 read as text": (
        {"saes__vanilla_mlp__lr": "1e-3"},
        r"saes\.vanilla_mlp\.lr: '1e-3' is text, not a number\. .* write 0\.001",
    ),
    "1e-4 in a list": (
        {"saes__vanilla_mlp__l1_coefficient": [1.0e-4, "8e-5"]},
        r"saes\.vanilla_mlp\.l1_coefficient.*'8e-5' is text",
    ),
    "unknown value": (
        {"saes__topk_resid__hook": "resid_pst"},
        r"saes\.topk_resid\.hook: 'resid_pst' is not one of .*Did you mean 'resid_post'\?",
    ),
    "missing key": ({"activations__layers": None}, r"activations: the key `layers` is missing"),
    "unknown data set": (
        {"saes__topk_resid__dataset": "imagnet"},
        r"saes\.topk_resid\.dataset: 'imagnet' is not under `datasets`; its entries: imagenet",
    ),
    "unknown recipe": (
        {"analyses__l0__recipe": "vanila"},
        r"analyses\.l0\.recipe: 'vanila' is not under `saes`; its entries: vanilla_mlp",
    ),
    "unknown recipe of the frontier": (
        {"analyses__frontier__recipes": ["frontier_topk", "frontier_tpk"]},
        r"analyses\.frontier\.recipes: 'frontier_tpk' is not under `saes`",
    ),
    "frontier of two layers": (
        {"saes__frontier_topk__layers": [6, 7]},
        r"saes\.frontier_topk\.layers: the frontier compares SAEs of one layer, and has \[6, 7\]",
    ),
    "frontier of two places": (
        {"saes__frontier_topk__layers": [7]},
        r"frontier\.recipes: all must be on the same hook and layer, but frontier_vanilla is on "
        r"resid_post of layers \[6\]; .*frontier_topk is on resid_post of layers \[7\]",
    ),
    "frontier over learning rates": (
        {"saes__frontier_topk__lr": [1.0e-3, 1.0e-4]},
        r"saes\.frontier_topk\.lr: the frontier needs one value here.*Lists are possible for arch",
    ),
    "steering with an unknown recipe": (
        {"analyses__steering__recipe": "vanila"},
        r"analyses\.steering\.recipe: 'vanila' is not under `saes`",
    ),
    "steering of an unknown data set": (
        {"analyses__steering__dataset": "imagnet"},
        r"analyses\.steering\.dataset: 'imagnet' is not under `datasets`",
    ),
    "steering SAEs of another hook": (
        {"analyses__steering__recipe": "vanilla_mlp"},
        r"analyses\.steering\.recipe: 'vanilla_mlp' reconstructs mlp_out, and steering edits resid",
    ),
    "strengths in disorder": (
        {"analyses__steering__strengths": [150, 0]},
        r"steering\.strengths: write them in ascending order; found \[150, 0\]",
    ),
    "strength not on its grid": (
        {"analyses__steering__strength": 120},
        r"steering\.strengths: \[-20, .* lacks the strength 120 at which every unit",
    ),
    "template without a place for the word": (
        {"analyses__steering__template": "a photo"},
        r"steering\.template: 'a photo' has no \{\} for the word, or several; write none, openai80",
    ),
    "traced layer without an SAE": (
        {"analyses__steering__traced": {"layer": 12, "units": [0]}},
        r"steering\.traced\.layer: layer 12 is not among the layers of recipe 'vanilla_resid'",
    ),
    "traced latent that does not exist": (
        {"analyses__steering__traced": {"layer": 3, "units": [0, 49_152]}},
        r"traced\.units: latents \[49152\] do not exist; recipe 'vanilla_resid' has 49152",
    ),
    "hash that is none": (
        {"analyses__steering__vocabulary__sha256": "4ed6"},
        r"analyses\.steering\.vocabulary\.sha256: .*hash that the file must have",
    ),
    "unknown architecture": (
        {"saes__topk_resid__architecture": ["topk", "tokp"]},
        r"saes\.topk_resid: .*architecture is 'tokp' .*one of batchtopk, .*Did you mean .topk",
    ),
    "unknown model": ({"model__model": "ViT-B-33"}, r"model: .*ViT-B-33.*nearest: .*ViT-B-32"),
    "tower that cannot be entered": ({"model__model": "RN50"}, r"model: .*ResNet"),
    "neither root nor draw": ({"datasets__imagenet__root": None}, r"give either `root`"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_gets_its_sentence(mistake):
    edits, message = MISTAKES[mistake]
    with pytest.raises(ConfigError, match=message):
        validate_config(edited(**edits), SCHEMA)


def test_all_mistakes_are_listed_at_once():
    config = edited(saes__topk_resid__hook="x", activations__dtype="float8")
    with pytest.raises(ConfigError, match=r"(?s)2 mistakes.*activations\.dtype.*topk_resid\.hook"):
        validate_config(config, SCHEMA)


def test_defaults_are_filled_in_at_every_depth():
    config = validate_config(PAPER, SCHEMA)
    assert config["datasets"]["imagenet"]["fingerprint"] == "size"
    assert config["activations"]["permute_seed"] == 0
    assert "fingerprint" not in PAPER["datasets"]["imagenet"]  # the input is unchanged


@pytest.mark.parametrize(
    "name",
    ["config.yaml", "workflow/experiments/paper.yaml", "workflow/experiments/patchsae.yaml"],
)
def test_shipped_configs_are_valid(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    load_config(ROOT / name, SCHEMA)


def test_every_key_of_the_schema_is_described():
    def undescribed(schema, path):
        for key, sub in schema.get("properties", {}).items():
            if "description" not in sub and "$ref" not in sub and "enum" not in sub:
                yield f"{path}.{key}"
            yield from undescribed(sub, f"{path}.{key}")

    schema = yaml.safe_load(SCHEMA.read_text())
    blocks = [schema, *schema["$defs"].values()]
    simple = ("dataset", "seed")  # reported under their own names
    found = [path for block in blocks for path in undescribed(block, "")]
    assert [path for path in found if path.split(".")[-1] not in simple] == []
