"""Concepts of SAE latents: what each stands for, and where it is.

PatchSAE (Lim et al. 2024, arXiv 2412.05276) §3.
"""
