"""Steerability: the words that CLIP predicts when a unit is turned up, for every unit and layer.

Steering paper §6, Eqs 4 to 8, 10 and 11, Figs 5, 6, 7 and 9.

  measure           one layer's images, model and words; the jobs
  steered_units     directions and pushes of latents, neurons and baselines
  routes            word probabilities of pushed images: blocks, closed form, limit
  unit_measures     measures of one unit
  layer_summary     measures of a layer, with intervals
  layer_tables      the tables of one layer and kind
  strength_curves   onset, half-saturation and traces along the strength
  gathered_tables   tables of all layers, histograms, concept coverage
"""
