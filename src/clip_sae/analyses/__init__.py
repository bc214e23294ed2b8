"""One question per file: stores, SAEs and a CLIP model in, a tidy DataFrame out."""
