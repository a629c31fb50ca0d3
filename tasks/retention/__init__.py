"""What is deleted, and what is kept: artifacts of the store and versions of the registry."""
