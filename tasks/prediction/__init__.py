"""Predictions of a saved model for stored rows, in bounded memory."""
