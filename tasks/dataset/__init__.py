"""Rows, labels and features as they lie in the store: what several stages read and write."""
