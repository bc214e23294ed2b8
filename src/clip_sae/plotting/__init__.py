"""Tables in, Axes or a Figure out: pandas, numpy, matplotlib and seaborn only; nothing is saved
but by `theme.save`, and no model is ever loaded.
"""
