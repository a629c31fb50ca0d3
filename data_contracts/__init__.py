"""What the data promises: contracts as YAML, their drafting and their checking."""
