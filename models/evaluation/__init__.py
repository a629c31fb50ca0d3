"""Evaluation of predictions: metrics, their uncertainty, and cheap strong baselines."""
