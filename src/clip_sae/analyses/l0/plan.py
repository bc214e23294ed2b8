"""Steps of `analyses.l0`: tables of L0, Figs 4 and 8, norms, the maps of one image."""

from clip_sae.planning.plan import Plan, Rule

MEASURE = Rule(
    "measure_l0",
    {"tokens": "l0_tokens.csv", "layers": "l0_layers.csv", "image": "l0_image.csv"},
    "clip_sae.analyses.l0.measure:measure_l0",
)
DRAW = "clip_sae.analyses.l0.draw"


def steps(plan: Plan) -> None:
    """Declare the tables and the figures."""
    section = plan.analysis("l0")
    layers = plan.layers(section["recipe"])
    # A recipe with lists has several SAEs per layer; the maps show the first.
    saes = [plan.saes(section["recipe"], layer)[0] for layer in layers]
    tables = plan.step(
        MEASURE,
        reads={
            "saes": saes,
            "stores": plan.stores_read_by(section, saes),
            "index": plan.index(section["dataset"]),
            "gpt2": plan.resource("gpt2_l0.csv"),
        },
        values={
            "split": section["split"],
            "single_image": section["single_image"],
            **plan.intervals,
        },
    )
    plan.want("all", *tables.values())
    map_layer = section["map_layer"]
    plan.draw(
        "fig4",
        f"{DRAW}:fig4",
        reads={"tokens": tables["tokens"], "layers": tables["layers"]},
        values={"map_layer": layers[len(layers) // 2] if map_layer is None else map_layer},
    )
    plan.draw("fig8", f"{DRAW}:fig8", reads={"tokens": tables["tokens"]})
    plan.draw("token_norms", f"{DRAW}:token_norms", reads={"tokens": tables["tokens"]})
    plan.draw(
        "l0_image",
        f"{DRAW}:l0_image",
        reads={"image": tables["image"], "images": plan.images(section["dataset"])},
    )
