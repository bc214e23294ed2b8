"""L0 per token position, layer and image: Figs 4 and 8 of the steering paper."""
