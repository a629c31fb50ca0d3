"""Heads: from what the encoder has read to predictions, each with its own loss."""
