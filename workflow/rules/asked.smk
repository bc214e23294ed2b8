"""What this run was asked for, which stores it waits for, and all of its jobs in one listing."""


def asked_paths():
    """The files that this run was asked for."""
    paths = []
    for target in ASKED:
        if target in TARGETS:
            also = TARGETS["adaptation"] if target == "extended" else []
            paths += TARGETS[target] + also
        elif workflow.is_rule(target):
            paths += map(str, workflow.get_rule(target).output)
        else:
            paths.append(os.path.normpath(target))
    return paths


def after_turns(job):
    """Inputs of an extraction that has to wait until stores of earlier layers are deleted."""
    whole = all(plan.store(key).path not in MISSING for key in job.stores)
    if whole or not workflow.is_main_process:
        return []
    place = (job.dataset, job.split)
    first = min(TURN_OF.get(key, 0) for key in job.stores)
    return [
        DROPS[key]
        for key in DROPS
        if (key.dataset, key.split) == place and TURN_OF.get(key, 0) < first
    ]


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
