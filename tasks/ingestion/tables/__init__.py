"""Sources that are tables: databases and lakehouse tables, read in bounded ranges."""
