"""Steps of `analyses.frontier`: every recipe's SAEs on held-out images, the curves, the table."""

from clip_sae.planning.plan import Plan, Rule

MEASURE = Rule(
    "measure_frontier",
    "measurements/frontier/{recipe}-{digest}.csv",
    "clip_sae.analyses.frontier.measure:measure_frontier",
)
DRAW = "clip_sae.analyses.frontier.draw"


def steps(plan: Plan) -> None:
    """Declare the rows of every recipe, their table, figure and reading; target `extended`."""
    block = plan.analysis("frontier")
    if block is None:
        return
    rows = []
    for name in block["recipes"]:
        [layer] = plan.layers(name)
        hook = plan.config["saes"][name]["hook"]
        rows.append(
            plan.step(
                MEASURE,
                reads={
                    "clip": plan.clip,
                    "index": plan.index(block["dataset"]),
                    "stores": plan.stores_of(block["dataset"], block["split"], hook, layer),
                    "saes": plan.saes(name, layer),
                },
                values={"templates": plan.config["zeroshot"]["templates"], **plan.intervals},
                recipe=name,
            )
        )
    table = plan.gather("frontier.csv", reads={"rows": rows}, target="extended")
    plan.draw("frontier", f"{DRAW}:frontier", reads={"csv": table}, target="extended")
    plan.render(
        "frontier",
        "clip_sae.analyses.frontier.render:frontier_markdown",
        reads={"csv": table},
        values={"model": plan.clip.facts["name"], "levels": block["levels"]},
        target="extended",
        formats=["md"],
    )
