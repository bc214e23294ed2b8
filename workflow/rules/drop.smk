"""Stores that are not kept: deleted when everything that this run makes from them is made.

INPUTS   what was made from a store
OUTPUTS  {results}/dropped/{model}/{dataset}-{split}/{hook}-L{layer}-{digest}.json, and the store's
         folder is gone

Only with `activations.temporary` or `layers_at_once`. What is deleted comes back by itself when
something out of date reads it, alone and not with all layers of its split.
"""

import sys

from clip_sae.planning.temporary import Deletions

# Which stores a run needs depends on its targets, and so do the rules: Snakemake 9.27 sets
# `workflow.dag_settings` only after it has read the workflow (api.py, DAGApi.__post_init__), so the
# command line is read here once more. A cluster's job is started for one target; the environment
# tells it those of the run, or it would come to other rules.
PASSES = {}


def targets_of_run():
    """The targets of this run."""
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
            """Delete a store when everything that this run makes from it is made."""
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
    """The files of a target, with the records of the stores that are deleted for it."""
    also = deletions.of_target(target) if plan.temporary else []
    return plan.files_of(target) + also


def after_turns(job):
    """Inputs of an extraction that has to wait until stores of earlier layers are deleted."""
    if not plan.temporary or not workflow.is_main_process:
        return []
    return deletions.before(job)
