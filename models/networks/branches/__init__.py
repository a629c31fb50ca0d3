"""Closed-form and convex models that predict beside the recurrent part of a network."""
