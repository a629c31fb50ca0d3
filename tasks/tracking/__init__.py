"""Experiments and runs in MLflow: parameters, metrics, curves, files."""
