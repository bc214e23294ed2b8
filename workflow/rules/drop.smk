"""Temporary stores: deleted as soon as this run has made everything that reads them.

Only with `activations.temporary` or `layers_at_once`. Inputs are the files made from a store; the
output is {results}/dropped/{model}/{dataset}-{split}/{hook}-L{layer}-{digest}.json. A deleted store
comes back alone, without the other layers of its split, when something out of date reads it.
"""

import sys

from clip_sae.planning.temporary import Deletions

# A run's targets decide which stores it needs, and so the rules. Snakemake 9.27 sets
# `workflow.dag_settings` only after it has read the workflow (api.py, DAGApi.__post_init__), so this
# file reads the command line once more. A cluster's job has one target; an environment variable
# gives it the targets of the run, so that it gets the same rules.
PASSES = {}


def targets_of_run():
    """Return the targets of this run."""
    from snakemake.cli import parse_args

    if not workflow.is_main_process:
        return dict(os.environ).get("CLIP_SAE_TARGETS", "all").split(os.pathsep)
    found = []
    if "snakemake" in sys.argv[0]:
        found = sorted(parse_args(sys.argv[1:])[1].targets)
    os.environ |= {"CLIP_SAE_TARGETS": os.pathsep.join(found or ["all"])}
    return found or ["all"]


if plan.temporary:
    run_targets = targets_of_run()  # sets the variable that the next line requires

    envvars:
        "CLIP_SAE_TARGETS",

    deletions = Deletions(plan, STATE, run_targets)
    PASSES = deletions.passes
    for store in deletions.all:
        if store.again and workflow.is_main_process:
            mark_stale(store.marker)

        rule:
            """Delete a store once this run has made everything that reads it."""
            name:
                store.name
            input:
                store.readers if workflow.is_main_process else [],
                [STALE_MARK] if store.again else [],
            output:
                store.marker,
            log:
                f"{LOGS}/{store.name}.log",
            localrule: True
            conda:
                "../../envs/clip_sae.yaml"
            params:
                step=store.step,
            script:
                "../scripts/step.py"


def files_of(target):
    """Return the files of a target, with the records of the stores that are deleted for it."""
    also = deletions.of_target(target) if plan.temporary else []
    return plan.files_of(target) + also


def after_turns(job):
    """Return the deletions of earlier layers that an extraction waits for."""
    if not plan.temporary or not workflow.is_main_process:
        return []
    return deletions.before(job)
