"""Stores that are not kept: deleted when everything that this run makes from them is made.

INPUTS   what was made from a store
OUTPUTS  {results}/dropped/{model}/{dataset}-{split}/{hook}-L{layer}-{digest}.json, and the store's
         folder is gone

Only with `activations.temporary` or `layers_at_once`. What is deleted comes back by itself when
something out of date reads it, alone and not with all layers of its split.
"""

from clip_sae.dropping import is_on_disk, marker_of
from clip_sae.store_turns import closure, readers, turns, will_run

# Records of deletions, for `python -m clip_sae gc`; and those of stores that this run will delete.
MARKERS = []
DROPS = {}


TURN_OF = {}

if plan.temporary:

    # A job's own process must come to the same rules as the one that started it.
    envvars:
        "CLIP_SAE_TARGETS",

    UPSTREAM = {
        made.path: {up.path for other in artefacts for up in other.upstream}
        for artefacts in JOBS
        for made in artefacts
    }
    # What a rule makes beside its artefacts: a figure's .svg.
    for rule_ in workflow.rules:
        paths = [str(path) for path in rule_.output]
        behind = set().union(*(UPSTREAM.get(path, ()) for path in paths))
        beside = [path for path in paths if path not in UPSTREAM]
        UPSTREAM |= {path: behind for path in beside}
        MISSING.update(path for path in beside if not os.path.exists(path))
    STORES = {artefact.path: key for key, artefact in plan.stores.items()}
    ASKED_PATHS = asked_paths()
    NEEDED = closure(UPSTREAM, ASKED_PATHS)
    RUNS = will_run(UPSTREAM, ASKED_PATHS, STALE, MISSING)
    READERS = readers(UPSTREAM, STORES, NEEDED)
    MARKERS = [marker_of(path, RESULTS) for path in STORES]
    WANTED = {path for path in STORES if RUNS.intersection(READERS[path])}
    AT_ONCE = config["activations"]["layers_at_once"]
    if AT_ONCE:
        cut = turns(
            {
                path: ((key.dataset, key.split), key.layer)
                for path, key in STORES.items()
                if READERS[path]
            },
            UPSTREAM,
            NEEDED,
            AT_ONCE,
        )
        places = [turn.place for turn in cut]
        TURN_OF = {
            key: index - places.index(turn.place)
            for index, turn in enumerate(cut)
            for key in STORES.values()
            if (key.dataset, key.split) == turn.place and key.layer in turn.layers
        }
    for path, key in STORES.items():
        if path not in WANTED:
            plan.parts[key] = f"_{key.hook}_L{key.layer:02d}"
        elif AT_ONCE:
            plan.parts[key] = f"_turn{TURN_OF[key]}"
    for path, key in STORES.items():
        folder, marker = plan.store(key).folder, marker_of(path, RESULTS)
        if not READERS[path] or not (path in WANTED or is_on_disk(folder)):
            continue
        DROPS[key] = marker
        # What is not there and will not be made is not waited for. What is there may run for a
        # reason of Snakemake's own, such as the mark of a job that was killed with its run.
        made = [
            reader
            for reader in READERS[path]
            if reader in RUNS or os.path.exists(reader)
        ]
        if os.path.exists(marker) and workflow.is_main_process:
            mark_stale(marker)

        rule:
            name:
                f"drop_{key.dataset}_{key.split}_{key.hook}_L{key.layer:02d}"
            input:
                made if workflow.is_main_process else [],
                [STALE_MARK] if os.path.exists(marker) else [],
            output:
                marker,
            log:
                f"{LOGS}/drop_{key.dataset}_{key.split}_{key.hook}_L{key.layer:02d}.log",
            localrule: True
            conda:
                "../../envs/clip_sae.yaml"
            params:
                spec=job_spec(store=str(folder), marker=marker),
            script:
                "../scripts/drop_store.py"

    for target, paths in TARGETS.items():
        also = TARGETS["adaptation"] if target == "extended" else []
        needed = closure(UPSTREAM, [*paths, *also])
        own = readers(UPSTREAM, STORES, needed)
        TARGETS[target] = paths + [
            marker for key, marker in DROPS.items() if own[plan.store(key).path]
        ]
