"""The plan: edits that change the path of an artefact, and edits that do not."""

from functools import cache
from pathlib import Path

import pytest
import yaml

from clip_sae.analyses.planned import planned
from clip_sae.planning.config import ConfigError, validate_config
from clip_sae.planning.plan import Plan, StoreKey

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.yaml"
KEY = StoreKey("general", "train", "resid_post", 3)


def store_with(**activations):
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["activations"] |= activations
    config = validate_config(config, SCHEMA)
    return Plan(config, workflow=ROOT / "workflow", src=ROOT / "src").store(KEY)


def test_compression_enters_a_stores_spec_only_where_it_is_chosen():
    plain = store_with()
    assert "compression" not in plain.spec
    assert store_with(compression="none").path == plain.path
    paths = {store_with(compression=name).path for name in ("lz4", "zstd", "zstd-high")}
    assert len(paths | {plain.path}) == 4
    assert store_with(compression="zstd").spec["compression"] == "zstd"


def test_an_unknown_compression_is_a_sentence():
    with pytest.raises(ConfigError, match=r"activations.compression: 'zst' .*mean 'zstd'"):
        store_with(compression="zst")


def plan_with(edits=None, **recipe):
    """Return the plan of the demo with a recipe `own` on val images and dotted edits."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["saes"]["own"] = config["saes"]["topk_resid"] | {"split": "val"} | recipe
    for dotted, value in (edits or {}).items():
        block = config
        *parents, last = dotted.split(".")
        for key in parents:
            block = block[key]
        block[last] = value
    config = validate_config(config, SCHEMA)
    return Plan(config, workflow=ROOT / "workflow", src=ROOT / "src")


def own_sae(edits=None, **recipe):
    return plan_with(edits, **recipe).saes("own", 3)[0].artefact


def test_a_streamed_recipe_wants_no_store_and_says_what_its_tokens_are():
    plan = plan_with(stream=True)
    [sae] = plan.saes("own", 3)
    reads = plan.training_step("own", 3).reads
    assert set(reads) == {"clip", "images"} and not plan.extraction_jobs()
    assert sae.artefact.upstream == (plan.model, plan.index("general"))
    store = plan.store(plan.training_key("own", 3))  # the default source of tokens
    assert sae.artefact.spec["stream"] == store.spec
    assert {a.source for a in sae.artefact.sources()} == {"model:demo", "dataset:general"}
    assert sae.recipe == plan_with().saes("own", 3)[0].recipe


def test_without_streaming_nothing_changes():
    plain = own_sae()
    assert plain.path == own_sae(stream=False).path != own_sae(stream=True).path
    assert set(plain.spec) == {"version", "recipe"} and "stream" not in plain.spec["recipe"]
    plan = plan_with()
    store = plan.store(plan.training_key("own", 3))
    assert plan.extraction_jobs() == []  # a lookup of a store does not add it to the plan
    assert plan.training_step("own", 3).reads == {"store": store}
    assert [job.name for job in plan.extraction_jobs()] == ["general_val_block0"]


@cache
def streamed_path():
    return own_sae(stream=True).path


@pytest.mark.parametrize(
    "key,value,changes",
    [
        ("activations.dtype", "bfloat16", True),
        ("activations.preprocess", "squash", True),
        ("activations.exif", "ignore", True),
        ("activations.permute_seed", 7, True),
        ("activations.chunk_mb", 0.25, True),  # the chunks that are shuffled
        ("activations.min_shards", 16, True),
        ("model.precision", "float32", True),
        ("datasets.general.draw.seed", 1, True),
        ("saes.own.hook", "mlp_out", True),
        ("saes.own.split", "test", True),
        ("saes.own.tokens", "cls", True),
        ("activations.compression", "zstd", False),  # of files that do not exist
        ("activations.layers_per_job", 1, False),
        ("zeroshot.templates", "none", False),
    ],
)
def test_a_streamed_sae_depends_on_all_that_decides_its_tokens(key, value, changes):
    assert (streamed_path() != own_sae({key: value}, stream=True).path) == changes


def test_arguments_of_a_streamed_training_are_those_of_an_extraction():
    plan = plan_with(stream=True, dataset="waterbirds_augmented", split="train")
    step = plan.training_step("own", 3)
    [stream] = {str(made.spec["stream"]) for made in step.artefacts}
    assert "'split': 'train'" in stream and "'layer': 3" in stream
    [images] = [step.reads["images"]]
    assert images.root == plan.root("waterbirds")
    assert images.index == plan.index("waterbirds_augmented")
    assert step.arguments["clip"]["model"] == plan.config["model"]["model"]


def test_streaming_is_yes_or_no():
    with pytest.raises(
        ConfigError, match=r"saes.own.stream: 'yes please' is not of type 'boolean'"
    ):
        own_sae(stream="yes please")


def test_the_order_of_analyses_has_no_meaning():
    """The plan does not depend on the order of the analyses."""
    config = validate_config(yaml.safe_load((ROOT / "config.yaml").read_text()), SCHEMA)
    whole = planned(config, workflow=ROOT / "workflow", src=ROOT / "src")
    other = Plan(config, workflow=ROOT / "workflow", src=ROOT / "src")
    other.planners = whole.planners
    for name in reversed([*whole.planners]):
        other.of(name)
    other.declare_saes()
    other.declare_sources()
    assert whole.steps.keys() == other.steps.keys()
    jobs = [{job.name: job.stores for job in plan.extraction_jobs()} for plan in (whole, other)]
    assert jobs[0] == jobs[1] and len(jobs[0]) > 10


def test_a_step_depends_on_its_function_and_not_only_on_the_function_s_module():
    """Two figures of one module from the same table are not the same figure."""
    plan = plan_with()
    reads = {"tokens": plan.index("general")}
    draws = [
        plan.draw(name, f"clip_sae.analyses.l0.draw:{name}", reads=reads)
        for name in ("fig8", "token_norms")
    ]
    assert draws[0].digest != draws[1].digest


def test_a_value_may_not_take_the_name_of_a_part_of_the_spec():
    plan = plan_with()
    for name in ("code", "run", "reads"):
        with pytest.raises(ValueError, match="a value may not be called"):
            plan.draw("x", "clip_sae.analyses.l0.draw:fig8", reads={}, values={name: 1})


@pytest.mark.parametrize("written", ["out", "out/", "./out", "out//"])
def test_results_are_one_path_however_they_are_written(written):
    assert plan_with({"results": written}).index("general").path.startswith("out/datasets/")
