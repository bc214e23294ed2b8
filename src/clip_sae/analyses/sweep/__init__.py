"""The lr x l1 sweep: explained variance, L0 and alive latents over a grid (App. 10)."""
