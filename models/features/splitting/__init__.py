"""Training, validation and test rows: a row keeps its split as the data grows."""
