"""Suppressing a spurious attribute: which units carry it, and what the model answers without them.

Steering paper §7.1, Eq. 9, Tables 1 and 5 to 8.

  groups                     label x attribute groups of a set, and accuracies over them
  contrast, contrast_pass    group means of every unit, from one pass over the training store
  sets                       from means to nested sets F_tau (Eq. 9)
  controls                   random sets of the same size or the same mass
  images                     chosen images of a store, batch by batch
  ablation, answers          edits of the residual, and which images are answered rightly after them
  layer, rows, bits          all of that for one layer: a row per set, a bit per image
  choose                     the strict and the relaxed condition, on validation: the one choice
  intervals                  bootstrap within groups, exact McNemar
  summary, tables            Tables 5 to 8 and 1
  embeddings, several_layers embeddings without sets of one layer or several, chosen together
  variants                   other readings of Eq. 9 side by side
  attribute_guess            the attribute without labels, from background prompts
  text_side, prompts         edits of the text embeddings instead, and the spread over prompts
  inputs                     class texts, test images and chosen sets, as the steps read them
  plan, render               the steps, and their tables for readers; a file is named like its step
"""
