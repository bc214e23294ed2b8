"""What adaptation changes: the concepts that an SAE reads, or what the model makes of them.

PatchSAE (Lim et al. 2024, arXiv 2412.05276) §5. The same SAE reads the frozen and the adapted
model; its latents are exchanged between the two, and the accuracy that remains is the answer.
"""
