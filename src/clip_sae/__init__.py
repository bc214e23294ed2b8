"""clip_sae: CLIP activations, sparse autoencoders on them, and what they explain.

Layers, each importing only those above it (held by tests/test_layers.py):
  specs, config, recipes, metrics              pure: no torch, known to the Snakefile
  clip, zeroshot, store, sae, datasets, demo   one thing each
  extraction, intervention, training           two of those together
  analyses                                     one question per file, a tidy table out
  plotting                                     tables in, Axes out; imports none of the above
"""

__version__ = "0.1.0"
