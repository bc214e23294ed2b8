"""Suppressing the written word: which latents it turns on, and what switching them off restores.

Steering paper §7.2, Table 2.

  images        residuals of pairs and of benchmarks
  units         what a label of units names, and the set that is chosen
  responses     how much more active each unit is on attacked images
  candidates    the sets of units over thresholds tau and lambda
  ablation      image embeddings with sets of units set to zero
  sweep, choice the sets on validation, and the one that is kept
  scores        accuracy, text confusion, paired intervals
  evaluation    every defence on a benchmark
  heads         the baseline that silences attention heads
  plan          the steps, each with a file of its name
"""
