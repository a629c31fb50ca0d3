"""Deployments of flows: their plans, serving them on this machine, crashed runs."""
