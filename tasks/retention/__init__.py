"""Retention: which artifacts and versions are no longer needed, and their deletion."""
