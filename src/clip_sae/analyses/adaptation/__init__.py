"""Gains of adapted models on base and novel classes. PatchSAE §5."""
