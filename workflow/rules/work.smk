"""What a config asks for, written down for `python -m clip_sae plan`; included last.

OUTPUTS  {results}/work.json
"""


def job_listing():
    """Every job but extractions: its rule, its stage, what it makes and what it reads."""
    rule_of = {
        str(path): rule_.name for rule_ in workflow.rules for path in rule_.output
    }
    outputs = {
        rule_.name: [str(path) for path in rule_.output] for rule_ in workflow.rules
    }
    return [
        {
            "rule": rule_of[artefacts[0].path],
            "stage": artefacts[0].stage,
            "makes": outputs[rule_of[artefacts[0].path]],
            "reads": sorted({up.path for made in artefacts for up in made.upstream}),
        }
        for artefacts in JOBS
        if artefacts[0].stage != "extract"
    ]


# A function, so that a run for anything else does not compute it.
def work_listing(wildcards):
    jobs = job_listing()
    beside = {path for job in jobs for path in job["makes"]}
    return job_spec(
        jobs=jobs,
        stores=[
            {"path": store.path}
            | {"dataset": key.dataset, "split": key.split}
            | {"hook": key.hook, "layer": key.layer}
            for key, store in plan.stores.items()
        ],
        targets=TARGETS,
        stale=sorted(STALE),
        missing=sorted(MISSING | {path for path in beside if not os.path.exists(path)}),
    )


rule list_work:
    output:
        f"{RESULTS}/work.json",
    log:
        f"{LOGS}/list_work.log",
    localrule: True
    conda:
        "../../envs/clip_sae.yaml"
    params:
        spec=work_listing,
    script:
        "../scripts/list_work.py"
