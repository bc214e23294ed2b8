"""Steps of `analyses.sweep`: every SAE of the sweep on held-out tokens, and the chosen point."""

from clip_sae.planning.plan import Plan, Rule, StoreKey

MEASURE = Rule("measure_sweep", "sweep.csv", "clip_sae.analyses.sweep.measure:measure_sweep")


def steps(plan: Plan) -> None:
    """Declare the table and its figure, both of the target `extended`."""
    block = plan.analysis("sweep")
    if block is None:
        return
    hook = plan.config["saes"][block["recipe"]]["hook"]
    table = plan.step(
        MEASURE,
        reads={
            "stores": {
                str(layer): plan.store(StoreKey(block["dataset"], block["split"], hook, layer))
                for layer in plan.layers(block["recipe"])
            },
            "saes": plan.all_saes(block["recipe"]),
        },
        values={"max_l0": block["max_l0"]},
    )
    plan.want("extended", table)
    plan.draw(
        "sweep", "clip_sae.analyses.sweep.draw:sweep", reads={"csv": table}, target="extended"
    )
