"""Whether a snapshot keeps its contract; rows that do not are quarantined."""
