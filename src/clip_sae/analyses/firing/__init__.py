"""How often latents fire, and the curves of their training."""
