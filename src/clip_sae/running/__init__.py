"""What happens while the workflow runs: one job, its outputs, locks and GPUs. No science."""
