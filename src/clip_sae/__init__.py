"""clip_sae: CLIP activations, sparse autoencoders on them, and what they explain.

Folders, each importing only from its own line and from those above it (tests/test_layers.py):
  planning                           what is made, from what, by which code: no torch
  clip, datasets, sae, store         one thing each; running: one job, its locks, its GPU
  extraction, training, adaptation   two of those together
  analyses                           one folder per question: plan, measure, draw
  scale, cli                         what a config costs; what is done by hand
plotting serves the modules that draw, and sees tables only.
"""

__version__ = "0.1.0"
