"""The workflow at run time: one job, its outputs, locks and GPUs. No science."""
