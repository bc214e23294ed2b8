"""Images of chosen latents, and examples of answers: Figs 1, 2, 3 and 10."""
