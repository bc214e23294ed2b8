"""Adapted models: training of prompts, and stores of their residuals.

PatchSAE §5. The functions' code is part of no digest: versions stand for it.
"""

from collections.abc import Mapping

import pandas as pd

from clip_sae.adaptation import Prompts, PromptSpec, save_prompts
from clip_sae.adaptation.few_shot import ClassHalves, choose_shots
from clip_sae.adaptation.text_side import first_words, text_width
from clip_sae.adaptation.training import AdaptationSettings, train_prompts
from clip_sae.analyses.adaptation.plan import WEIGHTS
from clip_sae.analyses.shared.adapted import load_adapted, usable_rows
from clip_sae.analyses.shared.models import class_names, load_model
from clip_sae.clip.model import ClipModel
from clip_sae.datasets.manifest import read_manifest
from clip_sae.datasets.pixels import pixels_of
from clip_sae.extraction.extract import ExtractJob, extract
from clip_sae.files import csv_text
from clip_sae.planning.inputs import ClipFiles, ImageFiles
from clip_sae.planning.specs import write_text

SETTINGS = ("lr", "epochs", "batch_images", "weight_decay", "warmup_epochs", "warmup_lr")


def train_adaptation(
    job,
    *,
    clip: ClipFiles,
    images: ImageFiles,
    method: Mapping,
    template: str,
    split: str,
    shots: int,
    seed: int,
) -> None:
    """Write prompts.safetensors, epochs.csv (loss and accuracy) and shots.csv (the images).

    Args:
        method: section of the config, its depth filled in; shots: images of each base class.
    """
    state = job.folder / "state.safetensors"
    job.discard_later(state)  # a job that dies before it is published resumes from it
    model, names = load_model(job, clip), class_names(images.index)
    halves = ClassHalves(len(names))
    manifest = usable_rows(images.index, split)
    rows, fewer = choose_shots(manifest["label_idx"].to_numpy(), halves.base, shots, seed)
    for label, n in fewer.items():
        job.log.info("class %r has %d images, not %d", names[label], n, shots)
    chosen = manifest.iloc[rows]
    prompts = _prompts_at_start(model, method, template, seed)
    history = train_prompts(
        model,
        prompts,
        pixels_of(images, chosen),
        chosen["label_idx"].to_numpy(),
        [names[label] for label in halves.base],
        AdaptationSettings(**{key: method[key] for key in SETTINGS}, seed=seed),
        state=state,
        log=job.log.info,
    )
    save_prompts(job.folder / WEIGHTS, prompts, {"model": clip.name})
    epochs = pd.DataFrame([vars(epoch) for epoch in history])
    epochs.insert(0, "epoch", range(1, len(epochs) + 1))
    write_text(job.folder / "epochs.csv", csv_text(epochs))
    write_text(job.folder / "shots.csv", chosen[["path", "label_idx"]].to_csv())
    job.facts["images"] = len(chosen)


def _prompts_at_start(model: ClipModel, method: Mapping, template: str, seed: int) -> Prompts:
    """Return the prompts before the first step: random, or the template's own words."""
    n_context = method["n_context"] or 0
    spec = PromptSpec(
        method["kind"],
        template,
        n_context=n_context,
        n_visual=n_context if method["kind"] == "maple" else method["n_visual"] or 0,
        depth=1 if method["kind"] == "coop" else method["depth"],
    )
    words = None
    if n_context and method["start"] == "words":
        words = first_words(model, template, n_context)
    return Prompts(spec, text_width(model), model.architecture.d_model, seed=seed, words=words)


def extract_adapted(job, *, clip: ClipFiles, images: ImageFiles, adapted: Mapping) -> None:
    """Write the stores that the job makes, one for each layer.

    The stores' specs hold split, layers and format; prompts become a third array of tokens.
    `adapted`: one model, as for `load_adapted`.
    """
    stores = list(job.made.values())
    spec = stores[0].spec
    model = load_model(job, clip)
    [one] = load_adapted(model, adapted).values()
    report = extract(
        one,
        ExtractJob(
            manifest=read_manifest(images.index, spec["split"]),
            data_root=images.root,
            stores={(s.spec["hook"], s.spec["layer"]): s.folder for s in stores},
            specs={(s.spec["hook"], s.spec["layer"]): s.record for s in stores},
            architecture=model.architecture,
            n_prompts=one.n_prompts,
            seed=spec["permute_seed"],
            dtype=spec["dtype"],
            chunk_mb=spec["chunk_mb"],
            min_shards=spec["min_shards"],
            compression=spec["compression"],
            fingerprints=job.fingerprints(),
            **{key: images.decoding[key] for key in ("preprocess", "exif", "max_pixels")},
        ),
        batch_size=job.batch("batch_size"),
        decode_workers=job.threads,
    )
    job.log.info("%d images at %.0f images/s", report.images, report.images_per_second)
