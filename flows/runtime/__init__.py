"""What surrounds a run: its name, its heartbeat, its log."""
