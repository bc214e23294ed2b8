"""Steerability: what a unit says when it is pushed, for every unit of every layer.

Steering paper §6, Eqs 4 to 8, 10 and 11, Figs 5, 6, 7 and 9.

  sampling                 which images, which units
  units                    what a unit is: direction and push (latents, neurons, baselines)
  routes                   from a push to word probabilities: run the blocks, closed form, limit
  measures                 the numbers of one unit
  summary, rarefaction     the numbers of a layer, with intervals
  curves                   onset and half-saturation along the strength
  layer, traces, tables    the tables
"""
