"""Reconstruction by SAEs: Tables 3 and 4 of the steering paper."""
