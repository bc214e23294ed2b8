"""Steps of `analyses.quality`: embeddings, a score per latent, tables of recipes and of seeds."""

from collections.abc import Mapping

from clip_sae.planning.artefacts import COMPLETE, Artefact
from clip_sae.planning.plan import Plan, Rule, StoreKey
from clip_sae.planning.reads import Clip

EMBED = Rule(
    "embed_images",
    f"measurements/quality/embeddings-{{encoder}}-{{digest}}/{COMPLETE}",
    "clip_sae.analyses.quality.embed_images:embed_images",
)
MEASURE = Rule(
    "measure_quality",
    f"measurements/quality/{{recipe}}-L{{layer}}-{{digest}}/{COMPLETE}",
    "clip_sae.analyses.quality.measure_quality:measure_quality",
)
RENDER = "clip_sae.analyses.quality.render:quality"


def steps(plan: Plan) -> None:
    """Declare the scores of every SAE, and the tables that the config names recipes for."""
    block = plan.analysis("quality")
    if block is None:
        return
    clip = encoder(plan, block)
    embeddings = plan.step(
        EMBED,
        reads={"clip": clip, "images": plan.images(block["dataset"])},
        values={"split": block["split"]},
        encoder=clip.facts["name"],
    )
    # Seeds are compared at all layers that they have.
    _table(plan, "quality", _scores(plan, embeddings, block["recipes"], block["layers"]))
    _table(plan, "quality_seeds", _scores(plan, embeddings, block["seeds"]), seeds=True)


def encoder(plan: Plan, block: Mapping) -> Clip:
    """The CLIP in whose space images are compared; the config's own unless the block names one."""
    if block["encoder"] is None:
        return plan.clip
    return plan.weights({key: block["encoder"][key] for key in ("name", "model", "pretrained")})


def _scores(
    plan: Plan, embeddings: Artefact, recipes: list[str], layers: list[int] | None = None
) -> list[Artefact]:
    """The scores of recipes at `layers`, or at all that they have."""
    return [
        _measured(plan, embeddings, name, layer)
        for name in recipes
        for layer in plan.layers(name)
        if layers is None or layer in layers
    ]


def _measured(plan: Plan, embeddings: Artefact, name: str, layer: int) -> Artefact:
    """The folder with the scores of a recipe's SAEs at a layer: summary.csv and latents.csv."""
    block, hook = plan.analysis("quality"), plan.config["saes"][name]["hook"]
    return plan.step(
        MEASURE,
        reads={
            "images": plan.images(block["dataset"]),
            "embeddings": embeddings,
            "store": plan.store(StoreKey(block["dataset"], block["split"], hook, layer)),
            "saes": plan.saes(name, layer),
        },
        values={
            "factors": block["factors"],
            "top_images": block["top_images"],
            **plan.intervals,
        },
        recipe=name,
        layer=layer,
    )


def _table(plan: Plan, name: str, rows: list[Artefact], seeds: bool = False) -> None:
    """A row per SAE and control, and its Markdown, which has means over `seeds`."""
    if not rows:
        return
    block, target = plan.analysis("quality"), "extended" if seeds else "all"
    table = plan.gather(
        f"{name}.csv", reads={"rows": rows}, values={"file": "summary.csv"}, target=target
    )
    caption = {
        "model": plan.clip.facts["name"],
        "encoder": encoder(plan, block).facts["name"],
        "circular": block["encoder"] is None,
        "factors": (block["factors"] or {"columns": []})["columns"],
        "top_images": block["top_images"],
        "split": f"{block['dataset']}, {block['split']}",
    }
    plan.render(
        name,
        RENDER,
        reads={"csv": table},
        values={"caption": caption, "seeds": seeds},
        target=target,
        formats=["md"],
    )
