"""Metrics of predictions against targets, a module for each kind of target."""
