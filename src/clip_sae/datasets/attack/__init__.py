"""Typographic attacks: words written on images, and the pairs of clean and attacked copies."""
