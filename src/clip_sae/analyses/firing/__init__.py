"""Firing rates of latents, and the curves of the SAEs' training."""
