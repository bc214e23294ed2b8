"""What a config asks for, written down for `python -m clip_sae plan`; included last.

OUTPUTS  {results}/work.json
"""


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
