"""Quality of the latents of an SAE: one meaning, clarity, stability over seeds."""
