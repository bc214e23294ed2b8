"""Suppressing a spurious attribute: the units that carry it, and the model's answers without them.

Steering paper §7.1, Eq. 9, Tables 1 and 5 to 8.

  grouped_set           a data set as the steps read it: groups, images, class texts
  measure_contrast      group means of every unit, also from guessed attributes
  evaluate_suppression  every set of one layer: a row per set, a bit per image
  evaluated_sets        the grid, the chosen sets, their controls
  set_answers           right answers after each of many sets was edited
  answer_bits           those answers on disk
  choose                every choice: the set of a layer, the best layer
  set_summary           test numbers of the chosen sets; intervals has their statistics
  paper_tables          Tables 1 and 5 to 8
  measure_variants      other readings of Eq. 9, and sets of several layers
  measure_text_side     baselines that edit text embeddings, from text_side
  measure_prompts       the spread over prompts
  plan, keys, render    the steps, their keys, and their tables for readers
"""
