"""The effect of adaptation: on the concepts that an SAE reads, or on the map from them to classes.

PatchSAE (Lim et al. 2024, arXiv 2412.05276) §5. The same SAE reads the frozen and the adapted
model; its latents are exchanged between the two, and the remaining accuracy is measured.
"""
