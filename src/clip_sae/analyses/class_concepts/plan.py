"""Steps of `analyses.class_concepts`: class-level counts, accuracy for every k, figure, table.

PatchSAE §4.1.
"""

from clip_sae.planning.plan import Plan, Rule, StoreKey

COUNT = Rule(
    "count_classes",
    "measurements/concepts/class-counts-{recipe}-L{layer}-{digest}.npz",
    "clip_sae.analyses.class_concepts.count_classes:count_classes",
)
MEASURE = Rule(
    "measure_class_concepts",
    "class_concepts.csv",
    "clip_sae.analyses.class_concepts.measure:measure_class_concepts",
)


def steps(plan: Plan) -> None:
    """Declare the ranking of latents by class, the accuracies, their figure and table."""
    section = plan.analysis("class_concepts")
    if section is None:
        return
    sae, index = plan.sae_of(section), plan.index(section["dataset"])

    def residuals(split: str):
        return plan.store(StoreKey(section["dataset"], split, "resid_post", sae.layer))

    counts = plan.step(
        COUNT,
        reads={"index": index, "store": residuals("train"), "sae": sae},
        values={"threshold": section["threshold"]},
        recipe=sae.name,
        layer=sae.layer,
    )
    table = plan.step(
        MEASURE,
        reads={
            "clip": plan.clip,
            "index": index,
            "store": residuals(section["split"]),
            "sae": sae,
            "counts": counts,
        },
        values={
            "templates": plan.config["zeroshot"]["templates"],
            "sizes": section["sizes"],
            "random_seeds": section["random_seeds"],
            **plan.intervals,
        },
    )
    plan.want("all", table)
    plan.draw(
        "class_concepts",
        "clip_sae.analyses.class_concepts.draw:class_concepts",
        reads={"csv": table},
    )
    plan.render(
        "class_concepts",
        "clip_sae.analyses.class_concepts.render:class_concepts",
        reads={"csv": table},
        values={
            "model": plan.clip.facts["name"],
            "sae": sae.label,
            "layer": sae.layer,
            "threshold": section["threshold"],
            "random_seeds": section["random_seeds"],
        },
        formats=["md"],
    )
