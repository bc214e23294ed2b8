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
    block = plan.analysis("reconstruction")
    for table in TABLES:
        rows = [
            _measured(plan, name, layer) for name in block[table] for layer in plan.layers(name)
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


def _measured(plan: Plan, name: str, layer: int):
    """The rows of recipe `name` at `layer`, all its variants."""
    block = plan.analysis("reconstruction")
    hook = plan.config["saes"][name]["hook"]
    return plan.step(
        MEASURE,
        reads={
            "clip": plan.clip,
            "index": plan.index(block["dataset"]),
            "stores": plan.stores_of(block["dataset"], block["split"], hook, layer),
            "saes": plan.saes(name, layer),
        },
        values={"templates": plan.config["zeroshot"]["templates"], **plan.intervals},
        recipe=name,
        layer=layer,
    )
