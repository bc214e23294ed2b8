"""Steps of `analyses.quality`: embeddings, a score per latent, tables of recipes and of seeds."""

from collections.abc import Mapping, Sequence

from clip_sae.planning.artefacts import COMPLETE, Artefact
from clip_sae.planning.plan import Plan, Rule
from clip_sae.planning.reads import Clip

RUN = "clip_sae.analyses.quality.measure"
EMBED = Rule(
    "embed_images",
    f"measurements/quality/embeddings-{{encoder}}-{{digest}}/{COMPLETE}",
    f"{RUN}:embed_images",
)
MEASURE = Rule(
    "measure_quality",
    f"measurements/quality/{{recipe}}-L{{layer}}-{{digest}}/{COMPLETE}",
    f"{RUN}:measure_quality",
)
RENDER = "clip_sae.analyses.quality.render:quality"


def steps(plan: Plan) -> None:
    """Declare the scores of every SAE, and the tables that the config names recipes for."""
    section = plan.analysis("quality")
    if section is None:
        return
    clip = encoder(plan, section)
    embeddings = plan.step(
        EMBED,
        reads={"clip": clip, "images": plan.images(section["dataset"])},
        values={"split": section["split"]},
        encoder=clip.facts["name"],
    )
    _table(plan, "quality", _scores(plan, embeddings, section["recipes"], section["layers"]))
    # Seeds are compared at all of their layers.
    _table(plan, "quality_seeds", _scores(plan, embeddings, section["seeds"]), seeds=True)


def encoder(plan: Plan, section: Mapping) -> Clip:
    """Return the CLIP in whose space images are compared: the config's own unless one is named."""
    if section["encoder"] is None:
        return plan.clip
    return plan.weights({key: section["encoder"][key] for key in ("name", "model", "pretrained")})


def _scores(
    plan: Plan, embeddings: Artefact, recipes: Sequence[str], layers: Sequence[int] | None = None
) -> list[Artefact]:
    """Declare the scores of recipes at `layers`, by default at all of theirs.

    Each artefact is the folder of one recipe and layer: summary.csv and latents.csv.
    """
    section = plan.analysis("quality")
    return [
        plan.step(
            MEASURE,
            reads={
                "images": plan.images(section["dataset"]),
                "embeddings": embeddings,
                "store": plan.store_read_by(section, plan.saes(name, layer)[0]),
                "saes": plan.saes(name, layer),
            },
            values={
                "factors": section["factors"],
                "top_images": section["top_images"],
                **plan.intervals,
            },
            recipe=name,
            layer=layer,
        )
        for name in recipes
        for layer in plan.layers(name)
        if layers is None or layer in layers
    ]


def _table(plan: Plan, name: str, rows: list[Artefact], seeds: bool = False) -> None:
    """Declare a table with a row per SAE and control, and its Markdown, with `seeds` of means."""
    if not rows:
        return
    section, target = plan.analysis("quality"), "extended" if seeds else "all"
    table = plan.gather(
        f"{name}.csv", reads={"rows": rows}, values={"file": "summary.csv"}, target=target
    )
    caption = {
        "model": plan.clip.facts["name"],
        "encoder": encoder(plan, section).facts["name"],
        "circular": section["encoder"] is None,
        "factors": (section["factors"] or {"columns": []})["columns"],
        "top_images": section["top_images"],
        "split": f"{section['dataset']}, {section['split']}",
    }
    plan.render(
        name,
        RENDER,
        reads={"csv": table},
        values={"caption": caption, "seeds": seeds},
        target=target,
        formats=["md"],
    )
