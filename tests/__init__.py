"""Tests mirror the rooms of the packages; what they share is in support."""
