"""Quality of latents: monosemanticity, clarity, stability over seeds, as a table per recipe.

INPUTS   the images, {results}/activations/**, {results}/saes/**, an encoder (the model itself, or
         any CLIP named under analyses.quality.encoder)
OUTPUTS  {results}/quality.csv, quality.md; quality_seeds.csv, quality_seeds.md (target `extended`)
"""

from clip_sae.architecture import ModelSource
from clip_sae.fingerprints import current_fingerprint
from clip_sae.quality_plan import TABLES as QUALITY_TABLES
from clip_sae.quality_plan import QualityPlan

if "quality" in config["analyses"]:
    quality = QualityPlan(plan)

    if not quality.circular:
        encoder = quality.fingerprint
        value = current_fingerprint(
            ModelSource(quality.encoder["model"], quality.encoder["pretrained"]),
            encoder.sidecar,
            encoder.source,
        )
        if value is not None:
            FINGERPRINTS[encoder.source] = value

        rule fingerprint_encoder:
            input:
                needs(encoder),
            output:
                encoder.path,
            log:
                f"{LOGS}/fingerprint_encoder.log",
            benchmark:
                f"{BENCHMARKS}/fingerprint_encoder.tsv"
            conda:
                "../../envs/clip_sae.yaml"
            params:
                spec=job_spec(encoder, model=quality.encoder),
            script:
                "../scripts/fingerprint_model.py"

    rule embed_images:
        input:
            needs(quality.embeddings),
        output:
            quality.embeddings.path,
        log:
            f"{LOGS}/embed_images.log",
        benchmark:
            f"{BENCHMARKS}/embed_images.tsv"
        conda:
            "../../envs/clip_sae.yaml"
        threads: 1
        resources:
            gpu=gpus,
            batch_images=256,
        params:
            spec=job_spec(
                quality.embeddings,
                script="embed_images",
                encoder=quality.encoder,
                index=str(quality.index.folder),
                root=plan.data_root(quality.dataset),
                split=quality.split,
                decoding=quality.decoding,
            ),
        script:
            "../scripts/embed_images.py"

    quality_parts = {
        (name, layer): quality.measured(name, layer)
        for table in QUALITY_TABLES
        for name, layer in quality.parts(table)
    }
    for (name, layer), measured in quality_parts.items():

        rule:
            name:
                f"measure_quality_{name}_L{layer:02d}"
            input:
                needs(measured),
            output:
                measured.path,
            log:
                f"{LOGS}/measure_quality_{name}_L{layer:02d}.log",
            benchmark:
                f"{BENCHMARKS}/measure_quality_{name}_L{layer:02d}.tsv"
            conda:
                "../../envs/clip_sae.yaml"
            threads: 1
            resources:
                gpu=gpus,
                batch_images=32,
            params:
                spec=job_spec(
                    measured,
                    script="measure_quality",
                    index=str(quality.index.folder),
                    root=plan.data_root(quality.dataset),
                    embeddings=str(quality.embeddings.folder),
                    store=str(quality.store(name, layer).folder),
                    recipe=name,
                    layer=layer,
                    saes=[
                        {
                            "variant": sae.variant,
                            "folder": sae.folder,
                            "architecture": sae.recipe.architecture,
                            "seed": sae.recipe.seed,
                        }
                        for sae in quality.saes(name, layer)
                    ],
                    groups=quality.groups(name, layer),
                    **quality.spec,
                ),
            script:
                "../scripts/measure_quality.py"

    for table, recipes in QUALITY_TABLES.items():
        if not quality.block[recipes]:
            continue
        target = "extended" if recipes == "seeds" else "all"
        gathered, rendered = quality.table(table), quality.rendered(table)
        TARGETS[target] += [gathered.path, rendered.path]

        rule:
            name:
                f"gather_{table}"
            input:
                needs(gathered),
            output:
                with_sidecar(gathered),
            log:
                f"{LOGS}/gather_{table}.log",
            benchmark:
                f"{BENCHMARKS}/gather_{table}.tsv"
            localrule: True
            conda:
                "../../envs/clip_sae.yaml"
            params:
                spec=job_spec(
                    gathered,
                    script="gather_rows",
                    rows=[f"{part.folder}/summary.csv" for part in gathered.upstream],
                ),
            script:
                "../scripts/gather_rows.py"

        rule:
            name:
                f"render_{table}"
            input:
                needs(rendered),
            output:
                with_sidecar(rendered),
            log:
                f"{LOGS}/render_{table}.log",
            benchmark:
                f"{BENCHMARKS}/render_{table}.tsv"
            localrule: True
            conda:
                "../../envs/clip_sae.yaml"
            params:
                spec=job_spec(
                    rendered,
                    script="render_quality",
                    csv=gathered.path,
                    seeds=recipes == "seeds",
                    caption=quality.caption,
                ),
            script:
                "../scripts/render_quality.py"
