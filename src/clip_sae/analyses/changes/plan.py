"""Steps of `analyses.adaptation.changes`: answers of all crossings, shares, latents, the figure.

PatchSAE §5.
"""

from clip_sae.planning.artefacts import COMPLETE
from clip_sae.planning.plan import Plan, Rule

RUN = "clip_sae.analyses.changes"
MEASURE = Rule(
    "measure_changes",
    f"measurements/adaptation_changes/{{dataset}}-{{method}}-{{digest}}/{COMPLETE}",
    f"{RUN}.measure:measure_changes",
)
# Shares of the gain; changes of each class; changes of each latent.
SUMMARISE = Rule(
    "summarise_changes",
    {
        "shares": "adaptation_changes.csv",
        "classes": "adaptation_changes_classes.csv",
        "latents": "adaptation_changes_latents.csv.gz",
    },
    f"{RUN}.gain_shares:summarise_changes",
)
TARGET = "adaptation"


def steps(plan: Plan) -> None:
    """Declare the measurement of every adaptation, and the final files."""
    adaptation = plan.of("adaptation")
    if adaptation is None or not adaptation.section["changes"]:
        return
    section = adaptation.section["changes"]
    sae = plan.sae_of(section)
    question = {key: section[key] for key in ("threshold", "strongest", "random_seeds")}
    measured = {
        dataset: {
            method: plan.step(
                MEASURE,
                reads={
                    "clip": plan.clip,
                    "images": plan.images(dataset),
                    "adapted": adaptation.models(dataset, method),
                    "sae": sae,
                },
                values={"split": splits["test"], **question, "seed": plan.seed},
                dataset=dataset,
                method=method,
            )
            for method in adaptation.methods
        }
        for dataset, splits in adaptation.datasets.items()
    }
    tables = plan.step(SUMMARISE, reads={"measured": measured}, values=plan.intervals)
    plan.want(TARGET, *tables.values())
    kinds = {method: adaptation.kinds[method] for method in adaptation.methods}
    plan.render(
        "adaptation_changes",
        f"{RUN}.render:share_tables",
        reads={"shares": tables["shares"], "classes": tables["classes"]},
        values={
            "model": plan.clip.facts["name"],
            "sae": sae.label,
            "layer": sae.layer,
            "strongest": section["strongest"],
            "kinds": kinds,
        },
        target=TARGET,
        formats=["md"],
    )
    plan.draw(
        "adaptation_changes",
        f"{RUN}.draw:changes",
        reads=tables,
        values={"kinds": kinds},
        target=TARGET,
    )
