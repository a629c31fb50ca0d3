"""Pretraining: a network that predicts the next step, in both directions of reading."""
