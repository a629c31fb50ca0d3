"""Batch scoring: a version predicts every row of a source into Parquet."""
