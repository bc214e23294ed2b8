"""Concepts of SAE latents: their meaning, and their location in images.

PatchSAE (Lim et al. 2024, arXiv 2412.05276) §3.
"""
