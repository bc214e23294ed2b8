"""Helpers that the drawing modules of several questions share: tables in, figures or text out.

pandas, numpy and matplotlib only; only `theme.save` writes files, and no model is loaded.
"""
