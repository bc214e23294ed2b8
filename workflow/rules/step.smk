"""The parent of all rules: one script runs every step."""


rule step:
    """Run one step of the plan; all rules inherit this one."""
    log:
        f"{LOGS}/step.log",
    conda:
        "../../envs/clip_sae.yaml"
    threads: 1
    params:
        step=declared,
    script:
        "../scripts/step.py"
