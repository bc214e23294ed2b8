"""Steps of `analyses.sweep`: every SAE of the sweep on held-out tokens, and the chosen point."""

from clip_sae.planning.plan import Plan, Rule

MEASURE = Rule("measure_sweep", "sweep.csv", "clip_sae.analyses.sweep.measure:measure_sweep")
DRAW = "clip_sae.analyses.sweep.draw"


def steps(plan: Plan) -> None:
    """Declare the table and its figure, both of the target `extended`."""
    section = plan.analysis("sweep")
    if section is None:
        return
    saes = plan.all_saes(section["recipe"])
    table = plan.step(
        MEASURE,
        reads={"stores": plan.stores_read_by(section, saes), "saes": saes},
        values={"max_l0": section["max_l0"]},
    )
    plan.want("extended", table)
    plan.draw("sweep", f"{DRAW}:sweep", reads={"csv": table}, target="extended")
