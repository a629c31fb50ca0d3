"""Uncertainty of scores: bootstrap intervals and permutation tests, in blocks for series."""
