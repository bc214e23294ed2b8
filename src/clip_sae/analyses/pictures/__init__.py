"""Images that chosen latents activate on, and examples of answers: Figs 1, 2, 3 and 10."""
