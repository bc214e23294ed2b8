"""Steps of `analyses.reconstruction`: rows per recipe and layer, Tables 3 and 4."""

from clip_sae.planning.plan import Plan, Rule

MEASURE = Rule(
    "measure_reconstruction",
    "measurements/reconstruction/{recipe}-L{layer}-{digest}.csv",
    "clip_sae.analyses.reconstruction.measure:measure_reconstruction",
)
TABLES = ("table3", "table4")
RENDER = "clip_sae.analyses.reconstruction.render:reconstruction_table"


def steps(plan: Plan) -> None:
    """Declare the measurement of every recipe of a table, the tables, and their rendering."""
    section = plan.analysis("reconstruction")
    for table in TABLES:
        rows = [
            plan.step(
                MEASURE, **plan.reconstruction(section, name, layer), recipe=name, layer=layer
            )
            for name in section[table]
            for layer in plan.layers(name)
        ]
        if not rows:
            continue
        gathered = plan.gather(f"{table}.csv", reads={"rows": rows})
        plan.render(
            table,
            RENDER,
            reads={"csv": gathered, "paper": plan.resource(f"paper/{table}.csv")},
            values={
                "table": table,
                "model": plan.clip.facts["name"],
                "templates": plan.config["zeroshot"]["templates"],
            },
        )
