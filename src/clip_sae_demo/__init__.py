"""The demo: a drawn world with its data sets, and a small CLIP that is trained on it.

A plug-in of clip_sae, which finds it by its name and never imports it.
"""
