"""Which rows train, validate and test: the split of a row is kept for ever as the data grows."""
