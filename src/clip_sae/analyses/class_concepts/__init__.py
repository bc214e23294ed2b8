"""Classes and latents: accuracy with only, or without, the strongest latents of a class.

PatchSAE (Lim et al. 2024, arXiv 2412.05276) §4.1.
"""
