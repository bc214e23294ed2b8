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
    section = plan.analysis("frontier")
    if section is None:
        return
    rows = []
    for name in section["recipes"]:
        [layer] = plan.layers(name)
        rows.append(plan.step(MEASURE, **plan.reconstruction(section, name, layer), recipe=name))
    table = plan.gather("frontier.csv", reads={"rows": rows}, target="extended")
    plan.draw("frontier", f"{DRAW}:frontier", reads={"csv": table}, target="extended")
    plan.render(
        "frontier",
        "clip_sae.analyses.frontier.render:frontier_markdown",
        reads={"csv": table},
        values={"model": plan.clip.facts["name"], "levels": section["levels"]},
        target="extended",
        formats=["md"],
    )
