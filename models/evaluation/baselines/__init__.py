"""Cheap, strong baselines that a network has to beat."""
