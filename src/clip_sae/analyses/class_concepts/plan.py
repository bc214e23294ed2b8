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
    "clip_sae.analyses.class_concepts.measure_class_concepts:measure_class_concepts",
)


def steps(plan: Plan) -> None:
    """Declare the ranking of latents by class, the accuracies, their figure and table."""
    block = plan.analysis("class_concepts")
    if block is None:
        return
    sae, index = plan.sae_of(block), plan.index(block["dataset"])

    def residuals(split: str):
        return plan.store(StoreKey(block["dataset"], split, "resid_post", sae.layer))

    counts = plan.step(
        COUNT,
        reads={"index": index, "store": residuals("train"), "sae": sae},
        values={"threshold": block["threshold"]},
        recipe=sae.name,
        layer=sae.layer,
    )
    table = plan.step(
        MEASURE,
        reads={
            "clip": plan.clip,
            "index": index,
            "store": residuals(block["split"]),
            "sae": sae,
            "counts": counts,
        },
        values={
            "templates": plan.config["zeroshot"]["templates"],
            "sizes": block["sizes"],
            "random_seeds": block["random_seeds"],
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
            "threshold": block["threshold"],
            "random_seeds": block["random_seeds"],
        },
        formats=["md"],
    )
