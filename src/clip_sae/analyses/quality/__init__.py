"""How good the latents of an SAE are: of one meaning, clear, and the same for another seed."""
