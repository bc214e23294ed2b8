"""Concepts of SAE latents: what each stands for, where it is, and which classes it serves.

PatchSAE (Lim et al. 2024, arXiv 2412.05276) §3 and §4.
"""
