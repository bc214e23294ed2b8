"""The steps before any analysis: data sets, weights, activations, SAEs; and gathered tables."""
