"""Steps of `analyses.concepts`: tables of all units, masks of chosen ones, their figures.

PatchSAE §3.
"""

from clip_sae.planning.artefacts import COMPLETE
from clip_sae.planning.plan import Plan, Rule, StoreKey

MEASURE = Rule(
    "measure_concepts",
    f"measurements/concepts/{{recipe}}-L{{layer}}-{{digest}}/{COMPLETE}",
    "clip_sae.analyses.concepts.measure_concepts:measure_concepts",
)
MASKS = Rule(
    "measure_masks",
    f"measurements/concept_masks/{{recipe}}-L{{layer}}-{{digest}}/{COMPLETE}",
    "clip_sae.analyses.concepts.measure_masks:measure_masks",
)
DRAW = "clip_sae.analyses.concepts.draw"


def steps(plan: Plan) -> None:
    """Declare what one pass finds of all units, masks of chosen units, tables and figures."""
    block = plan.analysis("concepts")
    if block is None:
        return
    sae, known = plan.sae_of(block), block["masks"]
    place = {"recipe": sae.name, "layer": sae.layer}

    def store(split: str):
        return plan.store(StoreKey(block["dataset"], split, sae.hook, sae.layer))

    measured = plan.step(
        MEASURE,
        reads={
            "index": plan.index(block["dataset"]),
            "store": store(block["split"]),
            "sae": sae,
        },
        values={key: block[key] for key in ("threshold", "top_images")},
        **place,
    )
    masks = plan.step(
        MASKS,
        reads={
            "images": plan.images(block["dataset"]),
            "store": store(known["split"] if known else block["split"]),
            "sae": sae,
            "measured": measured,
        },
        values={
            "masks_folder": known["folder"] if known else None,
            "grid": plan.grid,
            **{key: block[key] for key in ("max_share", "examples", "n_examples", "strongest")},
            **plan.intervals,
        },
        **place,
    )
    gathered = {"concepts": measured} | ({"concept_masks": masks} if known else {})
    tables = {
        name: plan.gather(f"{name}.csv", reads={"rows": [made]}, values={"file": f"{name}.csv"})
        for name, made in gathered.items()
    }
    about = {"sae": sae.label, "layer": sae.layer}
    plan.draw(
        "concepts",
        f"{DRAW}:concepts",
        reads={"csv": tables["concepts"]},
        values={
            **about,
            "dataset": f"{block['dataset']}, {block['split']}",
            "top_images": block["top_images"],
        },
    )
    plan.draw(
        "concept_masks",
        f"{DRAW}:concept_masks",
        reads={
            "images": plan.images(block["dataset"]),
            "measured": measured,
            "masks": masks,
        },
        values={
            **about,
            "grid": plan.grid,
            "known_masks": known is not None,
            "chosen": bool(block["examples"]),
        },
    )
