"""Data sets as one manifest each, and images as the pixels CLIP sees.

Serves every figure and table: ImageNet (Tables 3, 4, Figs 4-8), typographic sets (Table 2),
Waterbirds and CelebA (Tables 1, 5-8). The Snakefile imports the kinds (`datasets.kinds`), so this
file imports nothing.
"""
