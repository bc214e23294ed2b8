"""`python -m clip_sae <verb>`: tools for results, next to the workflow.

plan      print what a config needs, before anything runs; exit code 1 if the disk is too small
verify    check stores against their checksums; --repair lets the next run redo what is damaged
gc        list (and with --delete remove) artefacts that no config needs
reindex   index a data folder again after its content has changed
convert   turn an SAE of another project into an SAE folder of this one
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from clip_sae.planning.dropping import dropped_below, marker_of, store_of
from clip_sae.running.garbage import find_orphans
from clip_sae.running.locks import RUN_LOCK, begin_run
from clip_sae.scale.command import add_plan


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; return the exit code.

    0: fine. 1: damage found, or a disk too small. 2: wrong usage.
    """
    parser = argparse.ArgumentParser(
        prog="python -m clip_sae",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    add_plan(verbs)
    _add_verify(verbs)
    _add_gc(verbs)
    _add_reindex(verbs)
    _add_convert(verbs)
    options = parser.parse_args(arguments)
    try:
        return options.run(options)
    except (OSError, ValueError, RuntimeError, yaml.YAMLError) as error:
        print(f"clip_sae {options.verb}: {error}", file=sys.stderr)
        return 2


def _add_verify(verbs) -> None:
    verb = verbs.add_parser("verify", help="check activation stores")
    verb.add_argument("stores", nargs="+", type=Path, help="store folders, or folders above them")
    verb.add_argument("--fast", action="store_true", help="sizes only, not every checksum")
    verb.add_argument(
        "--repair", action="store_true", help="delete damaged ranges, so that snakemake redoes them"
    )
    verb.set_defaults(run=_verify)


def _verify(options: argparse.Namespace) -> int:
    from clip_sae.store import verify_store  # zarr is slow to import

    folders, dropped = [], []
    for path in options.stores:
        gone = [found for found in dropped_below(path) if not store_of(found).exists()]
        folders += _stores_below(path, missing_ok=bool(gone))
        dropped += gone
    for marker in dropped:
        print(f"{store_of(marker)}: deleted after use ({marker}); extracted again when needed")
    if not folders and not dropped:
        raise ValueError(
            f"no store found below {', '.join(map(str, options.stores))}; a store is a folder "
            "with spec.json and acts.zarr, e.g. results/activations/demo/general-train/…"
        )
    damaged = 0
    if options.repair:
        # <results>/activations/<model>/<split>/<store>: nobody completes a store meanwhile
        for results in {p for f in folders for p in f.parents if (p / RUN_LOCK).exists()}:
            begin_run(results, print)
    for folder in folders:
        report = verify_store(folder, full=not options.fast, repair=options.repair)
        print(report)
        damaged += not report.ok
    if damaged and options.repair:
        print("Run snakemake again: it extracts these ranges again and reruns their readers.")
    elif damaged:
        print("Add --repair, then run snakemake again to redo the damaged ranges.")
    return 1 if damaged else 0


def _stores_below(path: Path, missing_ok: bool) -> list[Path]:
    if not path.exists() and not missing_ok:
        raise FileNotFoundError(f"{path} does not exist")
    return sorted(found.parent for found in path.rglob("acts.zarr"))


def _add_gc(verbs) -> None:
    verb = verbs.add_parser("gc", help="artefacts that no config needs")
    verb.add_argument(
        "--config",
        action="append",
        type=Path,
        help="a config still in use, once for each (default: config.yaml)",
    )
    verb.add_argument(
        "--delete", action="store_true", help="remove them; without it they are listed"
    )
    verb.set_defaults(run=_gc)


def _gc(options: argparse.Namespace) -> int:
    from clip_sae.analyses.planned import plan_of  # slow to import

    configs = options.config or [Path("config.yaml")]
    needed: dict[Path, set[str]] = {}
    for config in configs:
        plan = plan_of(config)
        paths = {artefact.path for artefact in plan.artefacts}
        if plan.temporary:
            paths |= {marker_of(store.path, plan.results) for store in plan.stores.values()}
        needed.setdefault(Path(plan.results), set()).update(paths)
    total = 0
    for results, paths in needed.items():
        if options.delete:
            begin_run(results, print)
        for orphan in find_orphans(results, paths):
            total += orphan.size
            print(f"{orphan.size / 1e6:12.1f} MB  {orphan.path}")
            if options.delete:
                orphan.remove()
    names = " and ".join(map(str, configs))
    if not total:
        print(f"Nothing to remove: all artefacts are needed by {names}.")
    elif options.delete:
        print(f"{total / 1e6:12.1f} MB  removed; artefacts that {names} needs are kept")
    else:
        print(f"{total / 1e6:12.1f} MB  not needed by {names}; add --delete to remove it")
    return 0


def _add_reindex(verbs) -> None:
    verb = verbs.add_parser("reindex", help="index a data folder again")
    verb.add_argument("dataset", help="name under `datasets` in the config")
    verb.add_argument("--config", type=Path, default=Path("config.yaml"))
    verb.set_defaults(run=_reindex)


def _reindex(options: argparse.Namespace) -> int:
    names = yaml.safe_load(options.config.read_text())["datasets"]
    if options.dataset not in names:
        raise ValueError(
            f"{options.dataset!r} is not a data set of {options.config}; there are: "
            f"{', '.join(names)}"
        )
    from clip_sae.analyses.planned import plan_of

    _run_snakemake(options.config, plan_of(options.config).index(options.dataset).path, "--force")
    print("Run snakemake again: it rebuilds everything made from other content.")
    return 0


def _run_snakemake(config: Path, *arguments: str) -> None:
    """Run Snakemake with `config` in place of the workflow's own.

    Snakemake runs in its own process: the package never imports it. Raises RuntimeError if it
    fails.
    """
    command = [sys.executable, "-m", "snakemake", *arguments, "--cores", "all"]
    command += ["--replace-workflow-config", "--configfile", str(config)]
    done = subprocess.run(command, check=False)
    if done.returncode != 0:
        raise RuntimeError(
            f"snakemake failed with exit code {done.returncode}: see its messages above"
        )


def _add_convert(verbs) -> None:
    verb = verbs.add_parser(
        "convert", help="an SAE of another project as an SAE folder of this one"
    )
    verb.add_argument("source", type=Path, help="a checkpoint file or its folder")
    verb.add_argument("destination", type=Path, help="folder to write; Sae.load reads it")
    verb.add_argument(
        "--from",
        dest="format",
        metavar="FORMAT",
        help="saelens, prisma, patchsae, saev, sparsify, dictionary_learning or openai; by default "
        "recognised by its files",
    )
    verb.add_argument(
        "--input-norm",
        choices=("none", "layer_norm", "constant_norm_rescale"),
        help="norm of each token before the encoder, where the files do not say or are wrong",
    )
    verb.add_argument(
        "--input-scale",
        type=float,
        help="constant that tokens are multiplied by before the encoder",
    )
    verb.add_argument(
        "--allow-pickle",
        action="store_true",
        help="also read files with Python objects other than tensors (as plain records)",
    )
    verb.add_argument(
        "--keep-norms",
        action="store_true",
        help="keep rows of W_dec of different norms where TopK forbids to fold them",
    )
    verb.set_defaults(run=_convert)


def _convert(options: argparse.Namespace) -> int:
    from clip_sae.sae.exchange import convert  # torch is slow to import

    done = convert(
        options.source,
        options.destination,
        format=options.format,
        input_norm=options.input_norm,
        input_scale=options.input_scale,
        allow_pickle=options.allow_pickle,
        keep_norms=options.keep_norms,
    )
    print(f"{options.source} ({done.format}) -> {options.destination}: {done.sae.extra_repr()}")
    for note in done.notes:
        print(f"  {note}")
    return 0
