"""Versions and aliases in MLflow: registration, promotion, verification, reproduction."""
