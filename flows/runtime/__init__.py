"""The context of a run: its name, heartbeats and log."""
