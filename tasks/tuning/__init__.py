"""Hyperparameter search and the choice of a network, with Optuna."""
