"""Verbs of `python -m clip_sae` that are more than a few lines; `clip_sae.cli` names them all."""
