"""From a source to a snapshot: immutable Parquet of which only what is new is read."""
