"""The demo CLIP, trained again from nothing: `snakemake demo_clip` (an hour or two on two cores).

Not part of the default target: its weights ship in workflow/resources/demo_clip. To use the new ones,
point `model.model` at the folder.

INPUTS   none: its pictures are drawn from the seed
OUTPUTS  {results}/demo_clip/ (an open_clip local-dir with its card)
"""

DEMO_CLIP = f"{RESULTS}/demo_clip"


rule demo_clip:
    output:
        f"{DEMO_CLIP}/open_clip_model.safetensors",
        f"{DEMO_CLIP}/open_clip_config.json",
        f"{DEMO_CLIP}/vocabulary.json",
        f"{DEMO_CLIP}/CARD.md",
    log:
        f"{LOGS}/demo_clip.log",
    benchmark:
        f"{BENCHMARKS}/demo_clip.tsv"
    conda:
        "../../envs/clip_sae.yaml"
    threads: 2
    params:
        spec=job_spec(script="pretrain_demo_clip", seed=0),
    script:
        "../scripts/pretrain_demo_clip.py"
