"""What is made on Slurm, and the arguments with which snakemake runs on the test cluster."""

TARGETS = ("results/table3.csv", "results/table4.md", "results/firing.csv")
# Settings of this one small cluster, which a user would write into the profile.
HERE = [
    *("--slurm-init-seconds-before-status-checks", "2", "--seconds-between-status-checks", "2"),
    *("--latency-wait", "5", "--default-resources", "mem_mb=3000", "runtime=30"),
]
WITHOUT_ACCOUNTING = ["--slurm-status-command", "squeue", "--slurm-no-account"]
