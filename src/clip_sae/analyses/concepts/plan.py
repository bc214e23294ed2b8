"""Steps of `analyses.concepts`: tables of all units, masks of chosen ones, their figures.

PatchSAE §3.
"""

from clip_sae.planning.artefacts import COMPLETE
from clip_sae.planning.plan import Plan, Rule

MEASURE = Rule(
    "measure_concepts",
    f"measurements/concepts/{{recipe}}-L{{layer}}-{{digest}}/{COMPLETE}",
    "clip_sae.analyses.concepts.measure:measure_concepts",
)
MASKS = Rule(
    "measure_masks",
    f"measurements/concept_masks/{{recipe}}-L{{layer}}-{{digest}}/{COMPLETE}",
    "clip_sae.analyses.concepts.measure_masks:measure_masks",
)
DRAW = "clip_sae.analyses.concepts.draw"


def steps(plan: Plan) -> None:
    """Declare the pass over all units, masks of chosen units, tables and figures."""
    section = plan.analysis("concepts")
    if section is None:
        return
    sae, known = plan.sae_of(section), section["masks"]
    images = plan.images(section["dataset"])
    wildcards = {"recipe": sae.name, "layer": sae.layer}

    measured = plan.step(
        MEASURE,
        reads={
            "index": plan.index(section["dataset"]),
            "store": plan.store_read_by(section, sae),
            "sae": sae,
        },
        values={key: section[key] for key in ("threshold", "top_images")},
        **wildcards,
    )
    masks = plan.step(
        MASKS,
        reads={
            "images": images,
            "store": plan.store_read_by(section, sae, known["split"] if known else None),
            "sae": sae,
            "measured": measured,
        },
        values={
            "masks_folder": known["folder"] if known else None,
            "grid": plan.grid,
            **{key: section[key] for key in ("max_share", "examples", "n_examples", "strongest")},
            **plan.intervals,
        },
        **wildcards,
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
            "dataset": f"{section['dataset']}, {section['split']}",
            "top_images": section["top_images"],
        },
    )
    plan.draw(
        "concept_masks",
        f"{DRAW}:concept_masks",
        reads={"images": images, "measured": measured, "masks": masks},
        values={
            **about,
            "grid": plan.grid,
            "known_masks": known is not None,
            "chosen": bool(section["examples"]),
        },
    )
