"""Suppressing the written word: latents that it turns on, and the effect of switching them off.

Steering paper §7.2, Table 2.

  sweep_typographic, candidates   gaps of units, and the sets that two thresholds can choose
  choose_typographic              the sets that are kept, and their units
  defence_prefix, train_prefix    the learned prefix that the SAE is compared with
  cls_attention, measure_heads    the baseline that silences attention heads
  evaluate_typographic, defences  every defence on a benchmark, with paired intervals
  plan, keys, render              the steps, their keys, and Table 2 for readers
"""
