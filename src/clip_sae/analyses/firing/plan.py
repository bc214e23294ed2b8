"""Steps of every config: firing rates and training curves of all SAEs of the target `all`."""

from clip_sae.planning.plan import Plan, Rule

RUN = "clip_sae.analyses.firing.measure"
MEASURE = Rule("measure_firing", "firing.csv", f"{RUN}:measure_firing")
DRAW = "clip_sae.analyses.firing.draw"


def steps(plan: Plan) -> None:
    """Declare firing rates and training curves, and their figures."""
    saes = [sae for name in recipes_of_all(plan) for sae in plan.all_saes(name)]
    stores = plan.stores_read_by(plan.analysis("reconstruction"), saes)
    table = plan.step(MEASURE, reads={"stores": stores, "saes": saes})
    plan.want("all", table)
    plan.draw("firing", f"{DRAW}:firing", reads={"csv": table})
    curves = plan.gather("training_curves.csv", f"{RUN}:training_curves", reads={"saes": saes})
    plan.draw("training_curves", f"{DRAW}:training_curves", reads={"csv": curves})


def recipes_of_all(plan: Plan) -> list[str]:
    """Return the recipes of the target `all`.

    The sweep and the frontier train many SAEs, which belong to `extended` unless a table or a
    figure of `all` names them too.
    """
    analyses = plan.config["analyses"]
    in_extended = {
        analyses.get("sweep", {}).get("recipe"),
        *analyses.get("frontier", {}).get("recipes", []),
    }
    in_all = {
        *analyses["reconstruction"]["table3"],
        *analyses["reconstruction"]["table4"],
        analyses["l0"]["recipe"],
        analyses.get("steering", {}).get("recipe"),
    }
    return [name for name in plan.config["saes"] if name not in in_extended - in_all]
